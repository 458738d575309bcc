"""KeypointFiles: JSON of other programs by number of frame, and files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fakes import models, person

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline import Origin, Stream
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.estimators.keypoint_files import KeypointFiles
from mixsynth_stream.skeleton import BLAZEPOSE_33, BODY_25, COCO_17

FRAMES = 21
COCO_ROWS = [BLAZEPOSE_33.index(name) for name in COCO_17.joints]


def coco(frame: int, x_px: float = 200.0) -> np.ndarray:  # [17, 3]
    """Somebody who walks to the right, with scores of 0.8."""
    return np.column_stack([person(x_px=x_px + 4 * frame).pose[COCO_ROWS], np.full(17, 0.8)])


def openpose(folder: Path, joints: Any = coco, *, first: int = 0, pattern: str = "clip_{:012d}_keypoints.json") -> Path:
    """A folder with a file a frame; `joints(frame)` is one person, or None for nobody."""
    folder.mkdir(exist_ok=True)
    for frame in range(FRAMES):
        one = joints(frame)
        people = [] if one is None else [{"person_id": [-1], "pose_keypoints_2d": np.ravel(one).tolist()}]
        (folder / pattern.format(frame + first)).write_text(json.dumps({"version": 1.3, "people": people}))
    return folder


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def instances(frame: int, unit: float = 1.0) -> list[dict[str, Any]]:
    """The people of a frame, as MMPose writes them."""
    one = coco(frame)
    return [{"keypoints": one[:, :2].tolist(), "keypoint_scores": (one[:, 2] * unit).tolist()}]


def results(unit: float = 1.0, first: int = 0, image_id: Any = str) -> list[dict[str, Any]]:
    """COCO results of two people."""
    return [
        {
            "image_id": image_id(f + first),
            "category_id": 1,
            "score": 2.9,
            "keypoints": (one * [1, 1, unit]).ravel().tolist(),
        }
        for f in range(FRAMES)
        for one in (coco(f), coco(f, 400.0))
    ]


def test_a_folder_has_a_file_for_each_frame(tmp_path: Path) -> None:
    for first, pattern in ((0, "clip_{:012d}_keypoints.json"), (1, "a2b_{:06d}.json")):
        folder = openpose(tmp_path / str(first), lambda f: None if f == 3 else coco(f), first=first, pattern=pattern)
        (folder / "settings.json").write_text("{}")
        files = as_estimator(folder)
        assert files.skeleton == "COCO-17"
        assert [len(files.of_frame(f)) for f in (0, 3, 20)] == [1, 0, 1]
        np.testing.assert_allclose(files.of_frame(7)[0].pose, coco(7)[:, :2])
        assert (files.of_frame(7)[0].scores == 0.8).all() and np.isnan(files.of_frame(7)[0].world).all()


def test_a_joint_at_zero_was_not_seen_and_who_has_none_is_nobody(tmp_path: Path) -> None:
    def joints(frame: int) -> np.ndarray:
        one = np.column_stack([person().pose[:25], np.full(25, 0.5)])
        one[BODY_25.index("left_ear")] = 0.0
        one[BODY_25.index("right_ear")] = -1.0, -1.0, -0.01
        return one if frame != 5 else 0.0 * one

    files = KeypointFiles(openpose(tmp_path / "body", joints))
    assert files.skeleton == "BODY-25" and files.of_frame(5) == []
    missing = np.isnan(files.of_frame(4)[0].pose).all(axis=1)
    assert [BODY_25.joints[j] for j in np.flatnonzero(missing)] == ["right_ear", "left_ear"]
    assert files.of_frame(4)[0].scores[missing].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_one_file_of_all_frames(tmp_path: Path, unit: float) -> None:
    alphapose = written(tmp_path / "alphapose-results.json", results(unit, image_id="{}.jpg".format))
    counted = written(tmp_path / "results.json", results(unit, first=1, image_id=int))
    info = [{"frame_id": f + 1, "instances": instances(f, unit)} for f in range(FRAMES)]
    mmpose = written(tmp_path / "mmpose.json", {"meta_info": {}, "instance_info": info})
    inferencer = written(tmp_path / "inferencer.json", info)
    for path, people in ((alphapose, 2), (counted, 2), (mmpose, 1), (inferencer, 1)):
        files = KeypointFiles(path)
        assert files.skeleton == "COCO-17" and [len(files.of_frame(f)) for f in (0, 20, 21)] == [people, people, 0]
        np.testing.assert_allclose(files.of_frame(7)[0].pose, coco(7)[:, :2])
        np.testing.assert_allclose(files.of_frame(7)[0].scores, 0.8)


def test_a_folder_of_mmpose_has_a_list_for_each_picture(tmp_path: Path) -> None:
    for frame in range(FRAMES):
        written(tmp_path / f"{frame:06d}.json", instances(frame))
    files = KeypointFiles(tmp_path)
    assert files.skeleton == "COCO-17"
    np.testing.assert_allclose(files.of_frame(7)[0].pose, coco(7)[:, :2])


def test_alphapose_writes_the_form_of_openpose_into_one_file(tmp_path: Path) -> None:
    def people(frame: int) -> dict[str, Any]:
        joints = np.vstack([coco(frame), coco(frame)[5]])
        return {"version": "AlphaPose v0.3", "people": [{"pose_keypoints_2d": joints.ravel().tolist()}]}

    path = written(tmp_path / "alphapose-results.json", {f"{frame}.jpg": people(frame) for frame in (3, 4, 7)})
    files = KeypointFiles(path)
    assert files.skeleton == "OpenPose-18" and files.numbers == [3, 4, 7]
    np.testing.assert_allclose(files.of_frame(7)[0].pose[:17], coco(7)[:, :2])


def test_joints_in_another_order_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    KeypointFiles(openpose(tmp_path / "right"))
    assert not caplog.records
    order = np.random.default_rng(3).permutation(17)
    KeypointFiles(openpose(tmp_path / "shuffled", lambda f: coco(f)[order]))
    assert [record.message.split("nearly all poses")[1] for record in caplog.records] == [
        ", as if joints were in another order: give them in its order"
    ]


def test_an_annotation_orders_frames_by_their_images(tmp_path: Path) -> None:
    images = [{"id": 900 - f, "file_name": f"{f:05d}.png"} for f in range(FRAMES)]
    labels = [
        {"image_id": 900 - f, "keypoints": (coco(f) * [1, 1, 0] + [0, 0, 1 + f % 2]).ravel().tolist()}
        for f in range(FRAMES)
    ]
    files = KeypointFiles(written(tmp_path / "person_keypoints.json", {"images": images, "annotations": labels}))
    np.testing.assert_allclose(files.of_frame(7)[0].pose, coco(7)[:, :2])
    assert [files.of_frame(f)[0].scores[0] for f in (6, 7)] == [0.5, 1.0]  # hidden, visible


def test_a_stream_asks_by_number_of_frame_and_goes_on_where_the_files_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = openpose(tmp_path / "clip")
    frames = [(np.zeros((48, 64, 3), np.uint8), 5.0 + f / 30) for f in range(FRAMES + 10)]
    with Stream(iter(frames), estimator=str(folder), models=models(), lag=1) as stream:
        motions = list(stream)
    assert stream.skeleton == "COCO-17" and len(motions) == len(frames)
    np.testing.assert_allclose(motions[10].poses[0], coco(10)[:, :2])
    assert (motions[10].origin == Origin.MEASURED).all() and motions[-1].measured == ()
    assert [record.message for record in caplog.records] == [
        f"{folder} ends with frame 20, and the video goes on: nobody is seen there"
    ]


def test_files_of_many_frames_are_read_when_their_frames_come(tmp_path: Path) -> None:
    folder = openpose(tmp_path / "clip", lambda f: coco(f) if f < 20 else None)
    for number in range(FRAMES, 3000):
        (folder / f"clip_{number:012d}_keypoints.json").write_bytes(b"not yet read")
    files = KeypointFiles(folder)
    assert len(files.of_frame(8)) == 1
    with pytest.raises(ModelError, match="clip_000000002500_keypoints.json is no JSON, or is cut off"):
        files.of_frame(2500)


def twice(folder: Path) -> Path:
    openpose(folder)
    return openpose(folder, pattern="other_{:06d}.json")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: p / "none.json", "there is no file or folder of estimates .*none.json"),
        (lambda p: openpose(p / "a", lambda f: None), "a has no people in it"),
        (lambda p: openpose(p / "a", pattern="{:02d}.txt"), r"a holds no files such as video_0+12_keypoints.json"),
        (
            lambda p: twice(p / "a"),
            r"two files of frame 0, clip_0+_keypoints.json and other_0+.json: give a folder of one",
        ),
        (
            lambda p: openpose(p / "a", lambda f: coco(f)[:14]),
            r"people of 14 joints.*: give 17 \(COCO-17\), 18 \(OpenPose-18\)",
        ),
        (lambda p: openpose(p / "a", lambda f: coco(f)[:, :2]), "must have x, y and score .* found .34. numbers"),
        (
            lambda p: openpose(p / "a", lambda f: coco(f) / [640, 480, 1]),
            "they look normalised; multiply by the frame's",
        ),
        (lambda p: openpose(p / "a", lambda f: coco(f) * [1, 1, 1000]), "has scores up to 800: they must lie in 0..1"),
        (lambda p: written(p / "a.json", {"people": None}), "must have people, as OpenPose writes them"),
        (lambda p: written(p / "a.json", {"frames": []}), "holds neither a list of keypoints by image_id nor"),
        (lambda p: written(p / "a.json", [[1, 2]]), r"entry 0 must have image_id and keypoints, found \[1, 2\]"),
        (
            lambda p: written(p / "a.json", results(image_id=lambda f: "first")),
            "'first', which has no number of a frame",
        ),
        (lambda p: written(p / "a.json", [{"image_id": 0, "keypoints": ["x"]}]), "must have numbers for keypoints"),
        (lambda p: written(p / "a.json", [{"image_id": 0, "keypoints": [10**400] * 51}]), "must have numbers for key"),
        (
            lambda p: written(p / "a.json", [{"image_id": [1], "keypoints": coco(0).ravel().tolist()}]),
            r"entry 0 must have a number or a name as its image_id, found \[1\]",
        ),
        (
            lambda p: written(p / "a.json", {"images": [{"file_name": "1.png"}], "annotations": []}),
            r"must have images with an id each, .* found \[\{'file_name'",
        ),
        (lambda p: written(p / "a.json", {"images": {"1": 1}, "annotations": []}), "an id each, .* an object with 1"),
        (
            lambda p: written(p / "a.json", [{"instances": [{"keypoints": coco(0)[:, :2].tolist()}]}]),
            "frame 0 must have keypoints and keypoint_scores for each person, found an object with keypoints",
        ),
        (
            lambda p: written(p / "a.json", [{"instances": [{**instances(0)[0], "keypoint_scores": [0.5] * 16}]}]),
            r"\[J\] keypoint_scores, found \[17, 2\] and \[16\]",
        ),
        (lambda p: written(p / "a.json", {"instance_info": [{"instances": [3]}]}), "for each person, found 3"),
    ],
)
def test_files_that_do_not_fit_get_a_sentence(tmp_path: Path, make: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        KeypointFiles(make(tmp_path))


def test_a_skeleton_by_name_goes_before_the_number_of_joints(tmp_path: Path) -> None:
    folder = openpose(tmp_path / "clip")
    assert as_estimator(folder, "H36M-17").skeleton == "H36M-17"
    with pytest.raises(ModelError, match="people of 17 joints, but HALPE-26 has 26: give their own skeleton"):
        as_estimator(folder, "halpe26")

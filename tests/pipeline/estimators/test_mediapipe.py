"""MediaPipeEstimator on a real clip, in every shape that video comes in; its errors where it cannot be used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support import clips
from support.fakes import person

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator, without_duplicates
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.skeleton import BLAZEPOSE_33

SIZE = (360, 636)
# Shoulders, elbows, wrists, hips, knees, ankles, left before right.
LIMBS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
# Where the man's joints truly are in some frames (tests/data/README.md), in pixels.
TRUTH = {
    0: [(193, 207), (226, 198), (182, 263), (247, 239), (171, 309), (240, 268),
        (203, 298), (214, 288), (186, 344), (218, 355), (175, 387), (230, 420)],
    20: [(126, 247), (151, 198), (121, 301), (189, 178), (112, 336), (167, 145),
         (172, 285), (185, 258), (154, 326), (203, 279), (180, 390), (229, 312)],
    40: [(103, 200), (131, 180), (90, 242), (160, 190), (62, 277), (142, 177),
         (128, 276), (144, 261), (141, 334), (134, 313), (176, 384), (140, 372)],
}  # fmt: skip
TORSO_PX = 75.0


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    with av.open(str(clips.PERSON)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def mediapipe() -> Iterator[MediaPipeEstimator]:
    with MediaPipeEstimator() as estimator:
        yield estimator


@pytest.fixture(scope="module")
def plain(pictures: list[np.ndarray]) -> np.ndarray:  # -> [33, 2]
    """The pose in the first frame of the clip as it is."""
    with MediaPipeEstimator(mode="image") as estimator:
        return estimator(pictures[0], 0.0)[0].pose


def error_px(pose: np.ndarray, truth: Any) -> float:  # [33, 2], twelve (x, y)
    return float(np.linalg.norm(pose[LIMBS] - np.array(truth), axis=1).mean())


def transcode(path: Path, *, size: tuple[int, int] = SIZE, pix_fmt: str = "yuv420p", turn: int = 0) -> Path:
    """The first frame of the clip, three times over; with `turn`, stored turned back and marked to be shown upright."""
    width, height = size[::-1] if turn in (90, 270) else size
    with av.open(str(clips.PERSON)) as source, av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        frame = next(source.decode(video=0)).reformat(*size, format="rgb24")
        stored = np.ascontiguousarray(np.rot90(frame.to_ndarray(), turn // 90))
        for index in range(3):
            copy = av.VideoFrame.from_ndarray(stored, format="rgb24")
            copy.pts, copy.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(copy))
        container.mux(stream.encode(None))
    if turn:
        clips._set_display_matrix(path, clips.MATRICES[turn])
    return path


def test_after_forget_nobody_of_the_frames_before_is_followed(pictures: list[np.ndarray]) -> None:
    # Somebody so small that only tracking from the frames before finds them.
    small = np.full_like(pictures[0], 90)
    small[:318, :180] = pictures[40][::2, ::2]
    seen = []
    for forget in (False, True):
        with MediaPipeEstimator(max_people=4) as estimator:
            estimator.forget()  # nobody yet
            assert len(estimator(pictures[0], 0.0)) == len(estimator(pictures[20], 0.667)) == 1
            if forget:
                estimator.forget()
            seen.append(len(estimator(small, 0.7)))
    assert seen == [1, 0]


@pytest.mark.parametrize("frame", TRUTH)
def test_landmarks_land_on_the_person(frame: int, pictures: list[np.ndarray], mediapipe: MediaPipeEstimator) -> None:
    people = mediapipe(pictures[frame], frame / 30)
    assert len(people) == 1
    assert error_px(people[0].pose, TRUTH[frame]) < 0.2 * TORSO_PX
    assert people[0].world.shape == (33, 3) and people[0].scores.shape == (33,)
    assert ((people[0].scores >= 0) & (people[0].scores <= 1)).all()
    # Metres about the hips, y down: shoulders half a metre up, ankles below, a person's height in all.
    world = people[0].world
    np.testing.assert_allclose((world[23] + world[24]) / 2, 0.0, atol=0.05)
    assert world[11:13, 1].mean() < -0.25 and world[27:29, 1].mean() > 0.3
    assert 1.0 < np.ptp(world[:, 1]) < 2.2


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("odd size", {"size": (361, 637), "pix_fmt": "yuv444p"}, 0.04),
        ("rows padded in memory", {"size": (354, 626)}, 0.04),
        ("grey", {"pix_fmt": "gray"}, 0.12),
        ("10-bit", {"pix_fmt": "yuv420p10le"}, 0.04),
        ("shown turned by 90", {"turn": 90}, 0.04),
        ("shown turned by 180", {"turn": 180}, 0.04),
        ("shown turned by 270", {"turn": 270}, 0.04),
    ],
)
def test_any_kind_of_video_gives_the_same_pose(
    name: str, options: dict[str, Any], tolerance: float, plain: np.ndarray, tmp_path: Path
) -> None:
    size = options.get("size", SIZE)
    with VideoReader(transcode(tmp_path / "clip.mp4", **options)) as reader, MediaPipeEstimator() as estimator:
        rgb = next(iter(reader)).rgb
        assert rgb.shape == (size[1], size[0], 3)
        pose = estimator(rgb, 0.0)[0].pose * np.divide(SIZE, size)
    distance = np.linalg.norm(pose - plain, axis=1)[LIMBS].mean() / TORSO_PX
    assert distance < tolerance, f"{name}: off by {distance:.3f} torso lengths"


def test_strided_pictures_are_read_right(pictures: list[np.ndarray], mediapipe: MediaPipeEstimator) -> None:
    wide = np.zeros((SIZE[1], SIZE[0] + 24, 3), np.uint8)
    wide[:, : SIZE[0]] = pictures[20]
    whole = mediapipe(pictures[20], 100.0)[0]
    np.testing.assert_array_equal(mediapipe(wide[:, : SIZE[0]], 101.0)[0].pose, whole.pose)
    mirrored = mediapipe(pictures[20][:, ::-1], 102.0)[0].pose
    # Left and right change places in a mirror.
    swapped = mirrored[list(BLAZEPOSE_33.mirror)] * [-1, 1] + [SIZE[0], 0]
    assert error_px(swapped, whole.pose[LIMBS]) < 0.2 * TORSO_PX


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 4000), (4000, 1), (4320, 7680)])
def test_strange_sizes_hold_nobody_and_do_not_crash(size: tuple[int, int], mediapipe: MediaPipeEstimator) -> None:
    assert mediapipe(np.full((*size, 3), 127, np.uint8), 0.0) == []


def test_an_empty_room_holds_nobody(mediapipe: MediaPipeEstimator) -> None:
    assert mediapipe(np.full((480, 640, 3), 90, np.uint8), 0.0) == []


@pytest.mark.parametrize("mode", ["keyframe", "video"])
def test_size_and_time_may_jump(mode: str, pictures: list[np.ndarray]) -> None:
    small = np.ascontiguousarray(pictures[20][::2, ::2])
    with MediaPipeEstimator(mode=mode) as fresh:
        expected = fresh(pictures[20], 0.0)[0].pose
    with MediaPipeEstimator(mode=mode) as estimator:
        estimator(pictures[0], -2.0)
        estimator(pictures[1], 50.0)
        assert error_px(estimator(small, 50.1)[0].pose * 2, TRUTH[20]) < 0.25 * TORSO_PX
        estimator(pictures[30], 50.2)
        # Back in time is another video: what was followed before must not show.
        np.testing.assert_allclose(estimator(pictures[20], 0.0)[0].pose, expected, atol=1e-6)
        for _ in range(3):
            assert len(estimator(pictures[20], 0.0)) == 1  # the same time again


def test_another_size_is_another_video_for_the_same_landmarker(pictures: list[np.ndarray]) -> None:
    small = np.ascontiguousarray(pictures[20][::2, ::2])
    with MediaPipeEstimator() as fresh, MediaPipeEstimator() as estimator:
        estimator(pictures[0], 0.0)
        landmarker = estimator._landmarker
        np.testing.assert_allclose(estimator(small, 0.1)[0].pose, fresh(small, 0.1)[0].pose, atol=1e-6)
        assert estimator._landmarker is landmarker  # each new one would take memory that is not given back


def test_keyframe_mode_does_not_trail_behind(pictures: list[np.ndarray]) -> None:
    with MediaPipeEstimator() as sparse, MediaPipeEstimator(mode="image") as afresh:
        for frame in range(0, 50, 10):
            estimate, expected = sparse(pictures[frame], frame / 30)[0], afresh(pictures[frame], 0.0)[0]
            assert error_px(estimate.pose, expected.pose[LIMBS]) < 0.02 * TORSO_PX


def test_two_runs_give_the_same_numbers(pictures: list[np.ndarray]) -> None:
    runs = []
    for _ in range(2):
        with MediaPipeEstimator(max_people=2) as estimator:
            runs.append([estimator(pictures[frame], frame / 30)[0] for frame in range(0, 50, 10)])
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first.pose, second.pose)
        np.testing.assert_array_equal(first.world, second.world)


def test_several_people_up_to_max_people(pictures: list[np.ndarray]) -> None:
    both = [np.concatenate([pictures[frame], pictures[frame][:, ::-1]], axis=1) for frame in (0, 5, 10)]
    with MediaPipeEstimator(max_people=2) as estimator:
        for i, rgb in enumerate(both):
            people = estimator(rgb, i / 6)
            assert len(people) == 2
            assert sorted(one.pose[LIMBS, 0].mean() > SIZE[0] for one in people) == [False, True]
    with MediaPipeEstimator(max_people=1) as estimator:
        frames = [estimator(rgb, i / 6) for i, rgb in enumerate(both)]
    assert [len(people) for people in frames] == [1, 1, 1]
    # One of two, and the same one every time.
    assert len({people[0].pose[LIMBS, 0].mean() > SIZE[0] for people in frames}) == 1


def test_a_person_seen_twice_is_returned_once() -> None:
    one, beside = person(x_px=300.0), person(x_px=380.0)
    again = Person(one.pose + np.array([4.0, -6.0]), one.world, one.scores * 0.9)
    people = without_duplicates([again, beside, one])
    assert {float(p.pose[0, 0]) for p in people} == {float(one.pose[0, 0]), float(beside.pose[0, 0])}


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_mediapipe_is_imported_on_construction_only_and_is_quiet() -> None:
    process = run_python(
        f"""
import sys, av
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
print("mediapipe" in sys.modules)
with MediaPipeEstimator() as estimator, av.open({str(clips.PERSON)!r}) as clip:
    for frame in clip.decode(video=0):
        print("before", file=sys.stderr)
        people = estimator(frame.to_ndarray(format="rgb24"), frame.time)
        break
print(len(people), file=sys.stderr)
"""
    )
    assert process.stdout == "False\n"
    assert process.stderr == "before\n1\n"


def test_without_mediapipe_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(
        ModelError, match=r"MediaPipe cannot be used here.*Install mediapipe==0\.10\.31, or pass an est"
    ):
        MediaPipeEstimator()


def test_models_that_are_not_there_or_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixsynth_stream.pipeline.estimators.bundle.ASSETS", tmp_path)
    with pytest.raises(ModelError, match=r"heavy pose model is not installed.*build_pose_bundle.py --models heavy"):
        MediaPipeEstimator("heavy")
    with pytest.raises(ModelError, match="no pose model 'huge': give lite, full, heavy, one of them with '-official'"):
        MediaPipeEstimator("huge")
    (tmp_path / "text.task").write_text("not a bundle")
    with pytest.raises(ModelError, match=r"cannot use the pose model .*text.task"):
        MediaPipeEstimator(str(tmp_path / "text.task"))


def test_wrong_arguments_are_refused(pictures: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="mode must be one of keyframe, video, image, found 'live'"):
        MediaPipeEstimator(mode="live")
    with pytest.raises(ValueError, match="max_people must be at least 1, found 0"):
        MediaPipeEstimator(max_people=0)
    estimator = MediaPipeEstimator()
    for rgb, kind in ((pictures[0] / 255.0, "float64"), (pictures[0][..., 0], r"\[636, 360\]"), ([], "list")):
        with pytest.raises(ValueError, match=rf"rgb must be a uint8 array \[H, W, 3\], found .*{kind}"):
            estimator(rgb, 0.0)  # type: ignore[arg-type]
    estimator.close()
    estimator.close()
    with pytest.raises(ValueError, match="closed"):
        estimator(pictures[0], 0.0)

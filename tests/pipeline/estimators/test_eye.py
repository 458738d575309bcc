"""MediaPipeEye and the following estimator on real pictures: a man large and small, half outside, gone, cut away."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import av
import numpy as np
import pytest
from support import clips

from mixsynth_stream.errors import ModelError
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.estimators.choose import pose_estimator
from mixsynth_stream.pipeline.estimators.eye import MediaPipeEye, turned_on
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.skeleton import BLAZEPOSE_33
from mixsynth_stream.spaces import SPACES

CORE = SPACES["image"].core
TORSO = [BLAZEPOSE_33.index(f"{side}_{joint}") for joint in ("shoulder", "hip") for side in ("left", "right")]
# The clip has 60 pictures of a man, 30 a second; every tenth is a keyframe.
STEP = 10


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    with av.open(str(clips.PERSON)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def poses(pictures: list[np.ndarray]) -> list[np.ndarray]:  # of [33, 2]
    """MediaPipe's poses of each keyframe, from the whole picture."""
    with MediaPipeEstimator("full-official", mode="image") as estimator:
        return [estimator(rgb, 0.0)[0].pose for rgb in pictures[::STEP]]


@pytest.fixture(scope="module")
def eye() -> Iterator[MediaPipeEye]:
    with_eye = MediaPipeEye()
    yield with_eye
    with_eye.close()


def gap(pose: np.ndarray, other: np.ndarray) -> float:
    """The mean distance of the core joints, in body scales."""
    return float(np.linalg.norm(pose[CORE] - other[CORE], axis=1).mean() / scale_of(other[CORE]))


def keyframes(frames: list[np.ndarray], *, max_people: int = 1) -> list[Motion]:
    with Stream(max_people=max_people) as stream:
        motions = [motion for k, rgb in enumerate(frames) for motion in stream.push(rgb, k * STEP / 30, wait=True)]
    return [next(motion for motion in motions if motion.index == k) for k in range(len(frames))]


@pytest.mark.parametrize("turn", [-0.3, 0.3])
def test_a_torso_in_a_turned_region_is_drawn_as_in_an_upright_one(
    eye: MediaPipeEye, pictures: list[np.ndarray], poses: list[np.ndarray], turn: float, monkeypatch: pytest.MonkeyPatch
):
    gaps: dict[str, list[float]] = {"as drawn": [], "turned on": []}
    for rgb, pose in zip(pictures[::STEP], poses, strict=True):
        region = Region.of_pose(pose, margin=1.18)
        assert region is not None
        upright = eye.look(rgb, region)
        turned = Region(region.x, region.y, region.side, region.angle + turn)
        person = eye.look(rgb, turned)
        with monkeypatch.context() as patch:
            patch.setattr("mixsynth_stream.pipeline.estimators.eye.turned_on", lambda drawn, _: drawn)
            drawn = eye.look(rgb, turned)
        assert upright is not None and person is not None and drawn is not None
        gaps["turned on"].append(torso_gap(person.pose, upright.pose))
        gaps["as drawn"].append(torso_gap(drawn.pose, upright.pose))
    assert np.mean(gaps["turned on"]) < 0.8 * np.mean(gaps["as drawn"])


def torso_gap(pose: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(pose[TORSO] - other[TORSO], axis=1).mean())


def test_a_torso_turned_on_keeps_its_middle_and_world_hips_their_origin(poses: list[np.ndarray]):
    pose = poses[0]
    world = np.column_stack([pose / 500, np.zeros(33)])
    own = Region.of_pose(pose, margin=1.18)
    assert own is not None
    person = Person(pose, world, np.ones(33))
    assert (turned_on(person, own).pose == pose).all() and (turned_on(person, own).world == world).all()
    turned = turned_on(person, Region(own.x, own.y, own.side, own.angle - 0.2))
    shift = turned.world - world
    assert np.abs(shift[TORSO[2:]]).max() < 1e-12 and np.abs(shift[:, 2]).max() == 0
    now = Region.of_pose(turned.pose, margin=1.18)
    assert now is not None and own.turn(now) == pytest.approx(0.35 * 0.2, abs=0.002)


def on_canvas(rgb: np.ndarray, size: tuple[int, int], y: int, x: int) -> np.ndarray:
    """The picture on a grey one of this size; parts beyond its border are lost."""
    canvas = np.full((*size, 3), 128, np.uint8)
    top, left = max(y, 0), max(x, 0)
    part = rgb[top - y : top - y + size[0] - top, left - x : left - x + size[1] - left]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def test_a_look_at_a_region_that_was_found_is_mediapipes_own_result(eye, pictures, poses):
    for rgb, pose in zip(pictures[::STEP], poses, strict=True):
        regions = eye.find(rgb)
        assert len(regions) == 1
        person = eye.look(rgb, regions[0])
        assert gap(person.pose, pose) < 0.03
        assert person.world.shape == (33, 3) and 0 <= person.scores.min() <= person.scores.max() <= 1


def test_world_landmarks_are_upright_whatever_the_angle_of_the_region(eye, pictures, poses):
    region = Region.of_pose(poses[0], margin=1.2)
    turned = Region(region.x, region.y, region.side, region.angle + 0.2)
    upright, other = eye.look(pictures[0], region), eye.look(pictures[0], turned)
    assert np.abs(upright.world[CORE] - other.world[CORE]).mean() < 0.05


def test_a_part_is_searched_as_the_picture_is(eye, pictures):
    large = on_canvas(pictures[0], (1080, 1920), 300, 1000)
    regions = eye.find(large, Region(1180.0, 540.0, 700.0))
    assert len(regions) == 1
    assert eye.look(large, regions[0]) is not None


def test_nobody_is_seen_where_nobody_is(eye, pictures):
    grey = np.full((480, 640, 3), 90, np.uint8)
    assert eye.find(grey) == [] and eye.look(grey, Region(320.0, 240.0, 300.0)) is None
    # A corner of the real picture, beside the man.
    assert eye.look(pictures[0], Region(60.0, 560.0, 110.0)) is None


def test_strided_pictures_are_read_as_they_are(eye, pictures):
    padded = np.zeros((*pictures[0].shape[:1], 400, 3), np.uint8)
    padded[:, : pictures[0].shape[1]] = pictures[0]
    strided = padded[:, : pictures[0].shape[1]]
    region = eye.find(pictures[0])[0]
    assert eye.find(strided) == eye.find(pictures[0])
    assert (eye.look(strided, region).pose == eye.look(pictures[0], region).pose).all()


def test_a_stream_follows_the_man_as_well_as_it_finds_him(pictures, poses):
    motions = keyframes(pictures[::STEP])
    for motion, pose in zip(motions, poses, strict=True):
        assert motion.measured is not None and len(motion.measured) == 1
        assert gap(motion.measured[0].pose, pose) < 0.35
    assert {motion.ids.tolist()[0] for motion in motions} == {0}


def test_a_man_of_an_eighth_of_the_picture_is_seen_from_the_first_keyframe_on(pictures, poses):
    """Wherever he is. A pixel decides whether the network is sure of so small a man, so one of ten may be lost."""
    small = [rgb[::3, ::3] for rgb in pictures[::STEP]]  # 212 pixels high, the man about 100
    seen = []
    for y, x in ((400, 900), (400, 400), (350, 880)):
        motions = keyframes([on_canvas(rgb, (810, 1440), y, x) for rgb in small])
        assert len(motions[0].measured) == 1
        for motion, pose in zip(motions, poses, strict=True):
            seen.append(len(motion.measured))
            assert all(gap(person.pose, pose / 3 + [x, y]) < 0.5 for person in motion.measured)
    assert max(seen) == 1 and np.mean(seen) >= 0.9


def test_a_man_who_walks_out_half_is_followed_and_ends_when_he_is_gone(pictures, poses):
    height, width = pictures[0].shape[:2]
    shifts = [0, 30, 60, 90, 120, width, width, width, width, width]
    frames = [on_canvas(pictures[0], (height, width), 0, -shift) for shift in shifts]
    motions = keyframes(frames)
    assert all(motion.measured for motion in motions[:4])
    assert not any(motion.measured for motion in motions[5:])
    assert not len(motions[-1].ids)


def test_after_a_cut_to_an_empty_scene_nobody_is_left(pictures):
    empty = np.full_like(pictures[0], 100)
    motions = keyframes([*pictures[:30:STEP], *[empty] * 5, pictures[0]])
    assert not any(motion.measured for motion in motions[3:8])
    assert not len(motions[7].ids)
    assert motions[8].measured


def test_a_change_of_the_pictures_size_loses_nobody(pictures):
    doubled = [rgb.repeat(2, axis=0).repeat(2, axis=1) for rgb in pictures[::STEP]]
    motions = keyframes([*pictures[:30:STEP], *doubled[3:]])
    assert all(motion.measured for motion in motions)
    assert {motion.ids.tolist()[0] for motion in motions} == {0}


def test_two_streams_give_the_same_numbers(pictures):
    first, second = (keyframes(pictures[::STEP], max_people=2) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.measured[0].pose == other.measured[0].pose).all()


def test_one_estimator_serves_one_video_after_another(pictures):
    with pose_estimator() as estimator:
        first = [estimator(rgb, k / 3)[0].pose for k, rgb in enumerate(pictures[::STEP])]
        again = [estimator(rgb, k / 3)[0].pose for k, rgb in enumerate(pictures[::STEP])]
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_a_closed_eye_says_so(pictures):
    eye = MediaPipeEye()
    eye.close()
    eye.close()
    with pytest.raises(ValueError, match="this MediaPipeEye is closed"):
        eye.look(pictures[0], Region(100.0, 100.0, 50.0))
    with pytest.raises(ValueError, match="this MediaPipeEye is closed"):
        eye.find(pictures[0])


def test_what_is_no_model_is_refused_before_the_first_frame(tmp_path):
    path = tmp_path / "pose.task"
    path.write_bytes(b"no bundle")
    with pytest.raises(ModelError, match="pose.task"):
        pose_estimator(str(path))


def test_without_the_extension_the_error_names_the_other_eye(monkeypatch):
    monkeypatch.setitem(sys.modules, "mixsynth_stream._C", None)
    with pytest.raises(ModelError, match="--eye keyframe"):
        MediaPipeEye()


@pytest.mark.parametrize("rgb", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), "picture"])
def test_what_is_no_picture_is_refused(eye, rgb):
    with pytest.raises((ValueError, TypeError), match="rgb must"):
        eye.find(rgb)


def test_regions_of_any_size_can_be_looked_at(eye, pictures):
    for side in (1e-3, 1.0, 1e5):
        assert eye.look(pictures[0], Region(200.0, 300.0, side)) is None
    assert math.isfinite(eye.find(pictures[0])[0].side)

"""Motion capture clips, and cameras that look at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.published_data import objects
from support.walker import person

from mixsynth_stream.data import cameras as cam
from mixsynth_stream.data.mocap import FILE_JOINTS, core_from_mocap, data_hash, load_clips, stature
from mixsynth_stream.errors import SourceError
from mixsynth_stream.normalise import root_of
from mixsynth_stream.skeleton import CORE_17


def write_clips(path: Path, positions: np.ndarray, **changes: object) -> Path:
    content = {"joints": np.array(FILE_JOINTS), "fps": 30.0, "positions": positions, "starts": [0],
               "lengths": [len(positions)]} | changes  # fmt: skip
    np.savez(path, **{key: value for key, value in content.items() if value is not None})  # type: ignore[arg-type]
    return path


def test_clips_are_read_with_their_borders(tmp_path: Path) -> None:
    positions = person(100)
    path = write_clips(tmp_path / "a.npz", positions, starts=[0, 60], lengths=[60, 40], trial=objects(["x", "y"]))
    clips = load_clips(path)
    assert [(c.name, len(c.positions), c.rate_hz) for c in clips] == [("x", 60, 30.0), ("y", 40, 30.0)]
    np.testing.assert_array_equal(clips[1].positions, positions[60:])


@pytest.mark.parametrize(
    ("factor", "unit"), [(1000, "millimetres"), (100, "centimetres"), (1 / 0.0254, "inches"), (1 / 0.3048, "feet")]
)
def test_other_units_are_refused_by_name(tmp_path: Path, factor: float, unit: str) -> None:
    path = write_clips(tmp_path / "a.npz", person(30) * factor)
    with pytest.raises(SourceError, match=unit):
        load_clips(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"starts": None}, "no starts"),
        ({"joints": np.array(FILE_JOINTS[::-1])}, "expected pelvis"),
        ({"lengths": [500]}, "0 to 500 of 30"),
        ({"lengths": [1]}, "clip 0 has 1 frames; motion takes two"),
        ({"lengths": [0]}, "clip 0 has 0 frames; motion takes two"),
        ({"fps": 0.0}, "0 frames a second, expected 1 to 10000$"),
        ({"fps": float("nan")}, "nan frames a second"),
        ({"fps": float("inf")}, "inf frames a second"),
        ({"fps": [30, 60]}, "2 frame rates; all clips of a file share one"),
        ({"fps": "fast"}, "must be numbers"),
        ({"starts": [], "lengths": []}, "no clips"),
        ({"starts": ["a"]}, "must be numbers"),
        ({"lengths": [20.5]}, r"lengths whole numbers \(found fractions\)"),
        ({"lengths": objects([np.zeros(2), np.zeros(3)])}, "must be numbers"),
        ({"trial": ["a", "b"]}, r"1 clips and trial \[2\]"),
    ],
)
def test_files_that_do_not_fit_say_why(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        load_clips(write_clips(tmp_path / "a.npz", person(30), **changes))


def test_nan_and_things_that_are_not_npz_are_refused(tmp_path: Path) -> None:
    broken = person(30)
    broken[3, 4] = np.nan
    with pytest.raises(SourceError, match="clip 0 holds NaN .* in 1 of 30 frames, first in frame 3; cut"):
        load_clips(write_clips(tmp_path / "a.npz", broken))
    (tmp_path / "b.npz").write_text("hello")
    with pytest.raises(SourceError, match=r"b.npz is no npz, or a damaged one; .*make_mocap_npz.py makes them of BVH"):
        load_clips(tmp_path / "b.npz")
    with pytest.raises(SourceError, match="is a folder; motion capture is read from .npz"):
        load_clips(tmp_path)
    with pytest.raises(SourceError, match="no file"):
        load_clips(tmp_path / "missing.npz")


def test_stature_does_not_depend_on_the_pose() -> None:
    standing = person(30)
    lying = standing[..., [0, 2, 1]]
    assert stature(standing) == pytest.approx(1.72, abs=0.05)
    assert stature(lying) == pytest.approx(stature(standing), abs=1e-4)


@pytest.mark.parametrize("turn", [0.0, 1.0, 2.5])
def test_the_nose_lies_before_the_face_whichever_way_it_looks(turn: float) -> None:
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    positions = (person(5) @ rotation.T).astype(np.float32)
    nose = core_from_mocap(positions)[:, CORE_17.index("nose")] - positions[:, FILE_JOINTS.index("head")]
    ahead = rotation @ np.array([0.0, 0.0, 1.0])
    assert (nose @ ahead).min() > 0.05
    assert nose[:, 1].max() < 0
    assert np.abs(nose @ (rotation @ np.array([1.0, 0.0, 0.0]))).max() < 0.01


def test_core_joints_take_hands_and_toes() -> None:
    positions = person(5)
    core = core_from_mocap(positions)
    for ours, theirs in (("left_index", "lhand"), ("right_foot_index", "rtoe"), ("right_knee", "rknee")):
        np.testing.assert_array_equal(core[:, CORE_17.index(ours)], positions[:, FILE_JOINTS.index(theirs)])


def test_data_hash_follows_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    first = data_hash([tmp_path / "a"])
    (tmp_path / "a").write_bytes(b"two")
    assert len(first) == 64
    assert data_hash([tmp_path / "a"]) != first


def test_the_camera_sees_a_person_upright_and_the_right_way_round() -> None:
    motion = np.repeat(core_from_mocap(person(40))[None], 64, axis=0)
    cameras = cam.random_cameras(np.random.default_rng(0), motion)
    image, world = cam.to_image(cameras, motion), cam.to_world(cameras, motion)
    left = CORE_17.index("left_ankle")
    # y points down, in both spaces.
    assert (image[..., CORE_17.index("nose"), 1] < image[..., left, 1]).all()
    assert (world[..., CORE_17.index("nose"), 1] < world[..., left, 1]).all()
    # The person looks along +z; who looks at the camera has the left hip on the picture's right.
    towards = cameras.position - root_of(motion)[:, 20]
    facing = towards[:, 2] > 2 * np.abs(towards[:, 0])
    hips = image[..., CORE_17.index("left_hip"), 0] - image[..., CORE_17.index("right_hip"), 0]
    assert facing.sum() > 5
    assert (hips[facing, 20] > 0).all()
    np.testing.assert_allclose(root_of(world), 0, atol=1e-5)


def test_cameras_keep_lengths_and_their_distance() -> None:
    motion = np.repeat(core_from_mocap(person(40))[None], 64, axis=0)
    cameras = cam.random_cameras(np.random.default_rng(1), motion)
    identity = cameras.rotation @ cameras.rotation.transpose(0, 2, 1)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-9)
    assert np.linalg.det(cameras.rotation) == pytest.approx(np.ones(64))
    distance = np.linalg.norm(motion - cameras.position[:, None, None], axis=-1)
    assert distance.min() > 0.5


def test_cameras_differ_in_distance_height_focal_length_and_roll() -> None:
    motion = np.repeat(core_from_mocap(person(40))[None], 2000, axis=0)
    cameras = cam.random_cameras(np.random.default_rng(1), motion)
    away = cameras.position - root_of(motion).mean(axis=1)
    distance, height = np.linalg.norm(away, axis=-1), cameras.position[:, 1] - motion[..., 1].min()
    field = 2 * np.degrees(np.arctan(cam.FRAME_HEIGHT_PX / 2 / cameras.focal_px))
    # Without roll the picture's x axis is level.
    roll = np.degrees(np.arcsin(cameras.rotation[:, 0, 1]))
    for values, low, high in ((distance, 2, 9), (height, 0.3, 2.8), (field, 30, 75)):
        assert low - 0.1 < values.min() < low + 0.3 * (high - low)
        assert high - 0.3 * (high - low) < values.max() < high + 0.1
    assert 2.5 < roll.std() < 3.5
    side = np.degrees(np.arctan2(away[:, 0], away[:, 2]))
    assert np.histogram(side, 8, (-180, 180))[0].min() > 150


def test_a_mirrored_person_is_mirrored_back() -> None:
    core = core_from_mocap(person(20))
    flipped = cam.mirrored(core)
    np.testing.assert_allclose(cam.mirrored(flipped), core)
    left, right = CORE_17.index("left_wrist"), CORE_17.index("right_wrist")
    # The swinging arm is now the other one.
    assert np.ptp(flipped[:, right, 2] - root_of(flipped)[:, 2]) == pytest.approx(
        np.ptp(core[:, left, 2] - root_of(core)[:, 2]), abs=1e-5
    )


def test_another_body_has_the_same_angles_and_other_lengths() -> None:
    core = core_from_mocap(person(20))[None]
    factors = np.full((1, 10), 1.0)
    np.testing.assert_allclose(cam.resized(core, factors), core, atol=1e-5)
    factors[0, 7] = 1.2  # the thighs
    longer = cam.resized(core, factors)
    hip, knee, ankle = (CORE_17.index(f"left_{part}") for part in ("hip", "knee", "ankle"))
    for above, below, factor in ((hip, knee, 1.2), (knee, ankle, 1.0)):
        bone, before = longer[..., below, :] - longer[..., above, :], core[..., below, :] - core[..., above, :]
        np.testing.assert_allclose(bone, factor * before, atol=1e-5)

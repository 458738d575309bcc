"""Cameras that look at a person, mirrors, and other bodies."""

from __future__ import annotations

import numpy as np
import pytest
from support.walker import person

from mixsynth_stream.data import cameras as cam
from mixsynth_stream.data.mocap import core_from_mocap
from mixsynth_stream.normalise import root_of
from mixsynth_stream.skeleton import CORE_17


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

"""Gestures of arms and legs: bones, trunk, and speed."""

from __future__ import annotations

import numpy as np
from support.walker import person

from mixsynth_stream.data import cameras as cam
from mixsynth_stream.data.gestures import with_gestures
from mixsynth_stream.data.mocap import core_from_mocap
from mixsynth_stream.skeleton import CORE_17


def test_gestures_keep_bones_and_leave_the_trunk_alone() -> None:
    motion = np.stack([core_from_mocap(person(69, speed)) for speed in np.linspace(0.2, 2, 64)])
    # Half of the people keep an arm and a leg raised, so that there are poses to go to.
    for first, *limb in (
        ("left_shoulder", "left_elbow", "left_wrist", "left_index"),
        ("left_hip", "left_knee", "left_ankle", "left_foot_index"),
    ):
        joints, root = [CORE_17.index(name) for name in limb], motion[32:, :, [CORE_17.index(first)]]
        offset = motion[32:, :, joints] - root
        motion[32:, :, joints] = root + offset[..., [1, 0, 2]]
    gestured = with_gestures(np.random.default_rng(0), motion)
    trunk = [CORE_17.index(name) for name in ("nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip")]
    np.testing.assert_array_equal(gestured[:, :, trunk], motion[:, :, trunk])
    for joint, parent in cam.BONE_PARENT.items():
        if parent in CORE_17.joints:
            ends = CORE_17.index(joint), CORE_17.index(parent)
            before, after = (np.linalg.norm(m[:, :, ends[0]] - m[:, :, ends[1]], axis=-1) for m in (motion, gestured))
            np.testing.assert_allclose(after, before, atol=1e-5)
    moved = np.abs(gestured - motion).max(axis=(1, 3)) > 0.05
    arms, legs = moved[:, CORE_17.index("left_wrist")].mean(), moved[:, CORE_17.index("left_ankle")].mean()
    assert 0.02 < legs < arms < 0.6


def test_a_gesture_is_slow_then_fast_then_slow() -> None:
    """People who stand still with the left arm down or held out: on the way from one to the other no jerk."""
    down = core_from_mocap(person(1))
    out = down.copy()
    arm = [CORE_17.index(f"left_{part}") for part in ("elbow", "wrist", "index")]
    shoulder = down[:, [CORE_17.index("left_shoulder")]]
    out[:, arm] = shoulder + (down[:, arm] - shoulder)[..., [1, 0, 2]] * np.array([-1, 1, 1], np.float32)
    motion = np.concatenate([np.repeat(pose[None], 69, axis=1) for pose in [down] * 100 + [out] * 100])
    hand = with_gestures(np.random.default_rng(3), motion)[:, :, arm[-1]]
    speed = np.linalg.norm(np.diff(hand, axis=1), axis=-1)
    whole = (speed.max(axis=1) > 0.02) & (speed[:, 0] < 1e-4) & (speed[:, -1] < 1e-4)
    assert whole.sum() > 5
    # 0.63 m of arm through a right angle in 9 steps or more: at most 0.21 m a step, reached over several steps.
    assert speed[whole].max() < 0.22
    assert np.abs(np.diff(speed[whole], axis=1)).max() < 0.09

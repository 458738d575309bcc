"""Gestures: limbs that move from one pose to another and rest, which recordings of dance hardly hold.

A hand or foot that reaches somewhere follows a minimum-jerk path in time (Flash and Hogan, J. Neuroscience 5(7), 1985):
slow, fast, slow. The poses that it reaches come from other windows of the batch, in axes that turn with the body.
"""

from __future__ import annotations

import numpy as np

from mixsynth_stream.data.time_last import poses, time_last
from mixsynth_stream.skeleton import CORE_17

# Share of the windows in which a limb makes gestures of its own.
_ARM_SHARE, _LEG_SHARE = 0.6, 0.25
_DURATION_STEPS = (9.0, 36.0)
_LONGEST_REST_STEPS = 20.0
# Share of the limb's recorded movement that is added to the gesture.
_RECORDED_SHARE = 0.25
_GESTURES = 2
# Cosines beyond which two directions count as opposite or as the same.
_OPPOSITE, _SAME = -0.995, 0.9999
_LIMBS = tuple(
    (share, tuple(CORE_17.index(f"{side}_{part}") for part in parts))
    for share, parts in (
        (_ARM_SHARE, ("shoulder", "elbow", "wrist", "index")),
        (_LEG_SHARE, ("hip", "knee", "ankle", "foot_index")),
    )
    for side in ("left", "right")
)
_HIPS = (CORE_17.index("left_hip"), CORE_17.index("right_hip"))


def with_gestures(rng: np.random.Generator, motion: np.ndarray) -> np.ndarray:  # [B, T, 17, 3] metres, y up
    """The same motion, in some windows with arms and legs that reach and rest. Bones keep their lengths."""
    result = time_last(motion).copy()
    # The M limbs of all windows that make gestures are treated at once.
    windows_of_limb = [np.flatnonzero(rng.random(len(motion)) < share) for share, _ in _LIMBS]
    window = np.concatenate(windows_of_limb)
    counts = [len(windows) for windows in windows_of_limb]
    joints = np.repeat([joints for _, joints in _LIMBS], counts, axis=0).T  # [4, M]
    turn = _turn(result)
    chain = result[window, joints]  # [4, M, 3, T]
    bones = _about_vertical(np.diff(chain, axis=0), -turn[window])
    length = _length(bones)
    direction = bones / np.maximum(length, 1e-6)
    path = _path(rng, result, turn, joints, direction[..., 0])
    path += _RECORDED_SHARE * (direction - direction.mean(axis=-1, keepdims=True))
    path *= length / np.maximum(_length(path), 1e-3)
    limb = _about_vertical(path, turn[window])
    for joint in range(len(limb)):
        limb[joint] += limb[joint - 1] if joint else chain[0]
    result[window, joints[1:]] = limb
    return poses(result)


def _path(
    rng: np.random.Generator,
    rows: np.ndarray,  # [B, 17, 3, T] the motion of all windows
    turn: np.ndarray,  # [B, T]
    joints: np.ndarray,  # [4, M] of the limbs
    first: np.ndarray,  # [3, M, 3] directions of their bones in the first pose, in the body's axes
) -> np.ndarray:  # [3, M, 3, T]
    """Directions of the bones: from the first pose to one of another window, a rest, and on to a third."""
    steps, count = rows.shape[-1], joints.shape[1]
    begin = rng.uniform(-_DURATION_STEPS[0], steps - _DURATION_STEPS[0], (count, 1))
    directions, shares, time = [first], [np.ones(1, np.float32)], np.arange(steps, dtype=np.float32)
    for _ in range(_GESTURES):
        duration = rng.uniform(*_DURATION_STEPS, (count, 1))
        window, step = rng.integers(0, len(rows), count), rng.integers(0, steps, count)
        goal = _about_vertical(np.diff(rows[window, joints, :, step], axis=0)[..., None], -turn[window, step, None])
        goal = (goal / np.maximum(_length(goal), 1e-6))[..., 0]
        progress = _minimum_jerk((time - begin.astype(np.float32)) / duration.astype(np.float32))
        # One gesture ends before the next begins, so every gesture starts at the goal before it.
        start_share, goal_share = _sphere_shares(directions[-1], goal, progress)
        shares = [share * start_share for share in shares] + [goal_share]
        directions.append(goal)
        begin = begin + duration + rng.uniform(0, _LONGEST_REST_STEPS, (count, 1))
    return np.asarray(np.stack(directions, axis=-1) @ np.stack(shares, axis=-2))


def _sphere_shares(
    start: np.ndarray,  # [3, M, 3]
    goal: np.ndarray,  # [3, M, 3]
    progress: np.ndarray,  # [M, T]
) -> tuple[np.ndarray, np.ndarray]:  # [3, M, T] each
    """Shares of two directions on the way along the sphere (slerp).

    Opposite directions have no shortest way; they take any.
    """
    angle = np.arccos(np.clip((start * goal).sum(axis=-1, keepdims=True), _OPPOSITE, _SAME))
    part = progress * angle
    return np.sin(angle - part) / np.sin(angle), np.sin(part) / np.sin(angle)


def _length(bones: np.ndarray) -> np.ndarray:  # [3, M, 3, T] -> [3, M, 1, T]
    return np.asarray(np.sqrt(np.einsum("jmdt,jmdt->jmt", bones, bones)[:, :, None]))


def _minimum_jerk(u: np.ndarray) -> np.ndarray:  # [...] -> [...]
    """Share of the way at share u of the time."""
    u = np.clip(u, 0, 1)
    return np.asarray(u * u * u * (10 - u * (15 - 6 * u)))


def _turn(rows: np.ndarray) -> np.ndarray:  # [B, 17, 3, T] -> [B, T]
    """Angle of the line of the hips about the vertical, in radians."""
    line = rows[:, _HIPS[0]] - rows[:, _HIPS[1]]
    return np.asarray(np.arctan2(-line[:, 2], line[:, 0]))


def _about_vertical(bones: np.ndarray, turn: np.ndarray) -> np.ndarray:  # [3, M, 3, T], [M, T] -> [3, M, 3, T]
    """Vectors rotated about the vertical."""
    cos, sin = np.cos(turn), np.sin(turn)
    x, z = bones[:, :, 0], bones[:, :, 2]
    result = np.empty_like(bones)
    np.add(cos * x, sin * z, out=result[:, :, 0])
    result[:, :, 1] = bones[:, :, 1]
    np.subtract(cos * z, sin * x, out=result[:, :, 2])
    return result

"""Limbs that move from one pose to another and rest: reaching and stepping, which recordings of dance hardly hold.

A hand or foot that goes somewhere follows a minimum-jerk path in time (Flash and Hogan, J. Neuroscience 5(7), 1985):
slow, fast, slow. Poses to go to are taken from other windows of the batch, in axes that turn with the body.
"""

from __future__ import annotations

import numpy as np

from mixsynth_stream.skeleton import CORE_17

# Share of the windows in which a limb makes gestures of its own.
_ARM_SHARE, _LEG_SHARE = 0.6, 0.25
_DURATION_STEPS = (9.0, 36.0)
_LONGEST_REST_STEPS = 20.0
# How much of the limb's recorded movement stays on top.
_KEPT = 0.25
_GESTURES = 2
# Cosines beyond which directions count as opposite or the same.
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
    """The same motion, in some windows with arms and legs that reach and rest; bone lengths are kept."""
    result = motion.copy()
    turn = _turn(motion)
    for share, (first, *rest) in _LIMBS:
        chosen = np.flatnonzero(rng.random(len(motion)) < share)
        if not len(chosen):
            continue
        chain = motion[:, :, [first, *rest]]
        bones = _turned(np.diff(chain, axis=2), -turn)
        length = np.linalg.norm(bones[chosen], axis=-1, keepdims=True)
        direction = bones[chosen] / np.maximum(length, 1e-6)
        path = _path(rng, bones, direction)
        path += _KEPT * (direction - direction.mean(axis=1, keepdims=True))
        path /= np.maximum(np.linalg.norm(path, axis=-1, keepdims=True), 1e-3)
        limb = _turned(path * length, turn[chosen])
        result[chosen[:, None], :, rest] = (chain[chosen, :, :1] + np.cumsum(limb, axis=2)).transpose(0, 2, 1, 3)
    return result


def _path(
    rng: np.random.Generator,
    bones: np.ndarray,  # [B, T, 3, 3] in the body's axes
    direction: np.ndarray,  # [C, T, 3, 3] of the windows chosen
) -> np.ndarray:  # [C, T, 3, 3]
    """From the first pose to one of another window, a rest, and on to a third."""
    count, steps = direction.shape[:2]
    path = np.repeat(direction[:, :1], steps, axis=1)
    begin = rng.uniform(-_DURATION_STEPS[0], steps - _DURATION_STEPS[0], (count, 1))
    for _ in range(_GESTURES):
        duration = rng.uniform(*_DURATION_STEPS, (count, 1))
        donor = bones[rng.integers(0, len(bones), count), rng.integers(0, steps, count)]
        goal = donor / np.maximum(np.linalg.norm(donor, axis=-1, keepdims=True), 1e-6)
        done = _minimum_jerk((np.arange(steps) - begin) / duration)[:, :, None, None]
        path = _on_the_sphere(path, goal[:, None], done.astype(np.float32))
        begin = begin + duration + rng.uniform(0, _LONGEST_REST_STEPS, (count, 1))
    return path


def _on_the_sphere(start: np.ndarray, goal: np.ndarray, done: np.ndarray) -> np.ndarray:  # [..., 3]
    """From one direction to another along the sphere (slerp); opposite ones have no shortest way, and any will do."""
    angle = np.arccos(np.clip((start * goal).sum(axis=-1, keepdims=True), _OPPOSITE, _SAME))
    return np.asarray((np.sin((1 - done) * angle) * start + np.sin(done * angle) * goal) / np.sin(angle))


def _minimum_jerk(u: np.ndarray) -> np.ndarray:
    """Share of the way at share u of the time."""
    u = np.clip(u, 0, 1)
    return np.asarray(u**3 * (10 - 15 * u + 6 * u**2))


def _turn(motion: np.ndarray) -> np.ndarray:  # [B, T, 17, 3] -> [B, T]
    """Angle of the line of the hips about the vertical, in radians."""
    line = motion[:, :, _HIPS[0]] - motion[:, :, _HIPS[1]]
    return np.asarray(np.arctan2(-line[..., 2], line[..., 0]))


def _turned(bones: np.ndarray, turn: np.ndarray) -> np.ndarray:  # [B, T, 3, 3], [B, T]
    """Vectors turned about the vertical."""
    cos, sin = np.cos(turn)[..., None], np.sin(turn)[..., None]
    x, y, z = bones[..., 0], bones[..., 1], bones[..., 2]
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1).astype(np.float32)

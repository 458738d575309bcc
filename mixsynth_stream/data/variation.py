"""Variation: windows of training whose keyframes come when they come, and windows in which joints are never seen.

A stream that looks by need, or whose estimator is slow, has keyframes at any distance; `pipeline/window.py` moves them
to the network's grid. Windows are drawn as such a stream has them, and moved in the same way. An estimator without
feet, or one that loses a limb, leaves out joints; they stand where normalise.py expects them, as they do in a stream,
and do not count in the loss.
"""

from __future__ import annotations

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.interpolation import catmull_rom_at
from mixsynth_stream.normalise import weights
from mixsynth_stream.skeleton import CORE_17, LANDMARKS, body_part, core_joint

# Steps of the grid between looks: the mean of a window, up to twice the network's spacing; the spread of its logarithm.
_LEAST_STEPS, _MOST_STEPS = 3.0, 15.0
_SPACING_SPREAD = 0.35
# Joints that go together: an estimator that loses one mostly loses the others.
_LIMBS = (("elbow", "wrist", "index"), ("wrist", "index"), ("knee", "ankle", "foot_index"), ("ankle", "foot_index"))
# Single joints that are missing at most, where neither a limb nor a skeleton's joints are.
_MOST_SINGLE = 4


def look_steps(
    rng: np.random.Generator,
    batch: int,
    config: ModelConfig,
) -> np.ndarray:  # [B, K], not decreasing
    """Grid steps at which an estimator with irregular answers looks, up to the newest; before the window they are 0."""
    most = max(_MOST_STEPS, 2.0 * config.sample_interval)
    mean = np.exp(rng.uniform(np.log(_LEAST_STEPS), np.log(most), (batch, 1)))
    count = int(np.ceil(config.newest / _LEAST_STEPS))
    spacing = mean * np.exp(rng.normal(0, _SPACING_SPREAD, (batch, count)))
    before = np.cumsum(np.maximum(np.rint(spacing), 1).astype(int), axis=1)
    steps = config.newest - np.concatenate([np.zeros((batch, 1), int), before], axis=1)
    return np.asarray(np.maximum(steps, 0)[:, ::-1])


def on_grid(
    looks: np.ndarray,  # [B, K, 17, D]
    steps: np.ndarray,  # [B, K], not decreasing
    grid: np.ndarray,  # [G] steps
) -> np.ndarray:  # [B, G, 17, D]
    """Poses at the steps of the grid, on a cubic curve through the looks."""
    flat = looks.reshape(*looks.shape[:2], -1)
    poses = catmull_rom_at(
        steps.astype(np.float32), flat, np.broadcast_to(grid.astype(np.float32), (len(looks), len(grid)))
    )
    return poses.reshape(len(looks), len(grid), *looks.shape[2:])


def seen_joints(rng: np.random.Generator, batch: int, share: float) -> np.ndarray:  # [B, 17] bool
    """The joints that each window's estimator sees: all, but in this share of the windows."""
    seen = np.ones((batch, len(CORE_17)), bool)
    for window in np.flatnonzero(rng.random(batch) < share):
        kind = rng.integers(3)
        if kind == 0:
            seen[window] = _SKELETONS[rng.integers(len(_SKELETONS))]
        elif kind == 1:
            for limb in rng.choice(len(_LIMB_ROWS), rng.integers(1, 3), replace=False):
                seen[window, _LIMB_ROWS[limb]] = False
        else:
            seen[window, rng.choice(len(CORE_17), rng.integers(1, _MOST_SINGLE + 1), replace=False)] = False
    return seen


def without_unseen(keyframes: np.ndarray, seen: np.ndarray) -> np.ndarray:  # [B, Q+1, 17, D], [B, 17]
    """The keyframes with the joints that were not seen where normalise.py expects them."""
    partial = np.flatnonzero(~seen.all(axis=1))
    if not len(partial):
        return keyframes
    result = keyframes.copy()
    for window in partial:
        rows = seen[window]
        result[window, :, ~rows] = (weights(tuple(rows.tolist())) @ keyframes[window][:, rows]).swapaxes(0, 1)
    return result


def _rows_without(names: set[str]) -> np.ndarray:  # [17] bool
    return np.array([name not in names for name in CORE_17.joints])


# What the skeletons of other estimators have, once each.
_SKELETONS = [
    np.array(row)
    for row in sorted(
        {tuple(name in map(core_joint, skeleton.joints) for name in CORE_17.joints) for skeleton in LANDMARKS}
    )
    if not all(row)
]
_LIMB_ROWS = [
    ~_rows_without({name for name in CORE_17.joints if name.startswith(side) and body_part(name) in limb})
    for limb in _LIMBS
    for side in ("left", "right")
]

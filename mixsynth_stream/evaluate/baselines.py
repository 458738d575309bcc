"""Baselines: simple methods that the network must beat, because they need no learning. numpy only.

Every method has one signature: `method(keyframes, sample_interval, steps) -> poses`, where the keyframes sit on grid
steps 0, N .. QN and `steps` are grid positions, whole or not. Where a method has no answer (a gap filler past the
newest keyframe, a forecaster before it) it gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from mixsynth_stream.evaluate.filters import kalman_matrix
from mixsynth_stream.interpolation import DAMPING_STEPS, catmull_rom_matrix, hermite_basis, natural_spline_matrix

Baseline = Callable[[np.ndarray, int, np.ndarray], np.ndarray]
# The simple methods in the gaps and ahead: the network's error is divided by that of the best of them.
FILLERS = ("linear", "pchip", "catmull_rom", "cubic")
FORECASTERS = ("hold", "constant_velocity", "damped_velocity", "damped_tuned", "kalman")


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Parameters with which methods do best on training clips as the simulated estimator sees them."""

    damping_steps: float  # grid steps in which damped_tuned fades to 1/e
    kalman_gap_noise: float  # see kalman_matrix
    kalman_noise: float
    one_euro_cutoff_hz: float
    one_euro_beta: float  # Hz per torso length, or metre, a second
    ridge_strength: float  # see ridge.py


# Results of a grid search (scripts/tune_baselines.py), by space and sample interval. In the world the depth is so noisy
# that the best velocity is almost none: damping over 0.25 steps nearly holds the pose, and 0.03 is the least tried.
TUNED: dict[str, dict[int, Tuned]] = {
    "image": {
        5: Tuned(damping_steps=5.0, kalman_gap_noise=0.003, kalman_noise=0.1,
                 one_euro_cutoff_hz=8.0, one_euro_beta=4.0, ridge_strength=1e-5),
        10: Tuned(damping_steps=3.0, kalman_gap_noise=0.003, kalman_noise=0.3,
                  one_euro_cutoff_hz=8.0, one_euro_beta=4.0, ridge_strength=1e-4),
        15: Tuned(damping_steps=2.0, kalman_gap_noise=0.003, kalman_noise=0.3,
                  one_euro_cutoff_hz=8.0, one_euro_beta=4.0, ridge_strength=1e-4),
    },
    "world": {
        5: Tuned(damping_steps=1.0, kalman_gap_noise=0.01, kalman_noise=1.0,
                 one_euro_cutoff_hz=4.0, one_euro_beta=0.5, ridge_strength=1e-5),
        10: Tuned(damping_steps=0.25, kalman_gap_noise=0.01, kalman_noise=1.0,
                  one_euro_cutoff_hz=4.0, one_euro_beta=0.5, ridge_strength=1e-4),
        15: Tuned(damping_steps=0.03, kalman_gap_noise=0.01, kalman_noise=1.0,
                  one_euro_cutoff_hz=4.0, one_euro_beta=0.5, ridge_strength=1e-4),
    },
}  # fmt: skip
TUNED_DAMPING_STEPS = {space: by_interval[10].damping_steps for space, by_interval in TUNED.items()}


def tuned(space: str, sample_interval: int) -> Tuned:
    """The parameters for this spacing of keyframes, or for the nearest spacing in the table."""
    return TUNED[space][min(TUNED[space], key=lambda interval: abs(interval - sample_interval))]


def linear(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, J, D]
    """Straight lines between keyframes."""
    left, phase, inside = _intervals(keyframes, sample_interval, steps)
    poses = keyframes[:, left] * (1 - phase) + keyframes[:, left + 1] * phase
    return np.where(inside, poses, np.nan)


def pchip(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, J, D]
    """Monotone cubic interpolation: never beyond the two keyframes around it.

    Source: Fritsch and Butland (1984) slopes for equal spacing, with the three-point ends of Moler, Numerical Computing
    with MATLAB, section 3.6: the numbers of `scipy.interpolate.PchipInterpolator`.
    """
    left, phase, inside = _intervals(keyframes, sample_interval, steps)
    slopes = _monotone_slopes(np.diff(keyframes, axis=1))
    h00, h10, h01, h11 = hermite_basis(phase)
    poses = h00 * keyframes[:, left] + h01 * keyframes[:, left + 1] + h10 * slopes[:, left] + h11 * slopes[:, left + 1]
    return np.where(inside, poses, np.nan)


def catmull_rom(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, J, D]
    """Cubic Hermite with Catmull-Rom tangents on whole steps, linear between steps: the network before training."""
    count = _checked_count(keyframes)
    poses = _apply_matrix(catmull_rom_matrix(sample_interval, count - 1), keyframes, steps)
    return np.where(_inside(steps, count, sample_interval), poses, np.nan)


def cubic(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, J, D]
    """Natural cubic spline on whole steps, linear between steps: `scipy.interpolate.CubicSpline(bc_type="natural")`."""
    count = _checked_count(keyframes)
    poses = _apply_matrix(natural_spline_matrix(sample_interval, count - 1), keyframes, steps)
    return np.where(_inside(steps, count, sample_interval), poses, np.nan)


def kalman(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
    gap_noise: float,
    noise: float,
) -> np.ndarray:  # [B, M, J, D]
    """Constant-velocity Kalman smoother up to the newest keyframe, the filter's prediction beyond it.

    One filter with `gap_noise` fills the gaps and one with `noise` looks ahead, because each has a best noise of its
    own (see `kalman_matrix`).
    """
    count, steps = _checked_count(keyframes), np.asarray(steps, np.float64)
    newest = (count - 1) * sample_interval
    horizon = max(int(np.ceil(steps.max(initial=0))) - newest, 0)
    gap = _apply_matrix(kalman_matrix(sample_interval, count - 1, horizon, gap_noise), keyframes, steps)
    ahead = _apply_matrix(kalman_matrix(sample_interval, count - 1, horizon, noise), keyframes, steps)
    poses = np.where((steps < newest)[:, None, None], gap, ahead)
    return np.where((steps >= 0)[:, None, None], poses, np.nan)


def hold(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, J, D]
    """The newest keyframe, repeated."""
    return _extrapolate(keyframes, sample_interval, steps, np.zeros_like)


def constant_velocity(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, J, D]
    """The newest keyframe plus the velocity over the newest interval."""
    return _extrapolate(keyframes, sample_interval, steps, lambda ahead: ahead)


def damped_velocity(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
    damping_steps: float = DAMPING_STEPS,
) -> np.ndarray:  # [B, M, J, D]
    """The newest keyframe plus a velocity that fades to 1/e after `damping_steps` grid steps (Gardner 1985)."""
    return _extrapolate(keyframes, sample_interval, steps, lambda a: damping_steps * (1 - np.exp(-a / damping_steps)))


def baselines(tuned_damping_steps: float = DAMPING_STEPS) -> dict[str, Baseline]:
    """Methods by name. `damped_velocity` is that of the untrained network, `damped_tuned` has the caller's damping."""
    return {
        "linear": linear,
        "pchip": pchip,
        "catmull_rom": catmull_rom,
        "hold": hold,
        "constant_velocity": constant_velocity,
        "damped_velocity": damped_velocity,
        "damped_tuned": partial(damped_velocity, damping_steps=tuned_damping_steps),
    }


def tuned_baselines(space: str, sample_interval: int) -> dict[str, Baseline]:
    """All simple methods by name, with the parameters of `TUNED`."""
    parameters = tuned(space, sample_interval)
    return {
        **baselines(parameters.damping_steps),
        "cubic": cubic,
        "kalman": partial(kalman, gap_noise=parameters.kalman_gap_noise, noise=parameters.kalman_noise),
    }


def _checked_count(keyframes: np.ndarray) -> int:
    if keyframes.ndim != 4 or keyframes.shape[1] < 2:
        raise ValueError(f"keyframes must be [B, Q+1, J, D] with at least two keyframes, found {list(keyframes.shape)}")
    return int(keyframes.shape[1])


def _apply_matrix(
    matrix: np.ndarray,  # [T, Q+1], a row for each whole step
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, J, D]
    """Poses of a linear method at steps, linearly between whole ones."""
    steps = np.asarray(steps, np.float64)
    below = np.clip(np.floor(steps).astype(int), 0, len(matrix) - 2)
    phase = (steps - below)[:, None]
    weights = matrix[below] * (1 - phase) + matrix[below + 1] * phase
    batch, count = keyframes.shape[:2]
    return (weights @ keyframes.reshape(batch, count, -1)).reshape(batch, len(steps), *keyframes.shape[2:])


def _inside(steps: np.ndarray, count: int, sample_interval: int) -> np.ndarray:  # [M] -> [M, 1, 1]
    steps = np.asarray(steps)
    return ((steps >= 0) & (steps <= (count - 1) * sample_interval))[:, None, None]


def _intervals(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The keyframe left of each step [M], the phase 0..1 past it [M, 1, 1], and which steps are in the window."""
    count = _checked_count(keyframes)
    steps = np.asarray(steps, np.float64)
    left = np.clip(np.floor(steps / sample_interval).astype(int), 0, count - 2)
    return left, (steps / sample_interval - left)[:, None, None], _inside(steps, count, sample_interval)


def _monotone_slopes(delta: np.ndarray) -> np.ndarray:  # [B, Q, J, D] differences -> [B, Q+1, J, D] slopes an interval
    if delta.shape[1] == 1:
        return np.repeat(delta, 2, axis=1)
    before, after = delta[:, :-1], delta[:, 1:]
    same_way = before * after > 0
    harmonic = 2 * before * after / np.where(same_way, before + after, 1.0)
    inner = np.where(same_way, harmonic, 0.0)
    first = _end_slope(delta[:, 0], delta[:, 1])
    last = _end_slope(delta[:, -1], delta[:, -2])
    return np.concatenate([first[:, None], inner, last[:, None]], axis=1)


def _end_slope(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Three-point slope at an end, clipped so that the curve stays monotone; `near` is the difference at the end."""
    slope = 1.5 * near - 0.5 * far
    slope = np.where(slope * near <= 0, 0.0, slope)
    return np.where((near * far < 0) & (np.abs(slope) > 3 * np.abs(near)), 3 * near, slope)


def _extrapolate(
    keyframes: np.ndarray,  # [B, Q+1, J, D]
    sample_interval: int,
    steps: np.ndarray,  # [M]
    progress: Callable[[np.ndarray], np.ndarray],  # from steps past the newest keyframe to steps of its velocity
) -> np.ndarray:  # [B, M, J, D]
    count = _checked_count(keyframes)
    ahead = np.asarray(steps, np.float64) - (count - 1) * sample_interval
    newest = keyframes[:, -1:]
    velocity = (newest - keyframes[:, -2:-1]) / sample_interval
    return np.where((ahead >= 0)[:, None, None], newest + velocity * progress(ahead.clip(0))[:, None, None], np.nan)

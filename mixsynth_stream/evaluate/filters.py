"""Filters to compare the network with: Kalman on keyframes, One-Euro on every frame. numpy only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# The variance of position and velocity before the first keyframe: the filter knows next to nothing of them.
_UNKNOWN = 1e6


@lru_cache(maxsize=64)
def kalman_matrix(sample_interval: int, step: int, horizon: int, noise: float) -> np.ndarray:  # [QN + 1 + H, Q+1]
    """Weights that take keyframes at steps 0, N .. QN to the Kalman estimate of every step up to QN + H.

    A coordinate moves with a constant velocity that white noise disturbs; keyframes measure its position. `noise` is
    the variance of a measurement over the variance that the velocity gains in an interval between keyframes (in units
    of an interval). Up to the newest keyframe this is the smoother of Rauch, Tung and Striebel (1965), which sees all
    keyframes; beyond it, the filter's prediction. The filter is linear, so it runs once, on all unit keyframes.
    """
    count, newest, dt = step + 1, sample_interval * step, 1 / sample_interval
    move = np.array([[1.0, dt], [0.0, 1.0]])
    disturbance = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
    mean, covariance = np.zeros((2, count)), np.eye(2) * _UNKNOWN
    filtered, predicted = [], []
    for t in range(newest + horizon + 1):
        if t > 0:
            mean, covariance = move @ mean, move @ covariance @ move.T + disturbance
        predicted.append((mean, covariance))
        if t <= newest and t % sample_interval == 0:
            gain = covariance[:, :1] / (covariance[0, 0] + noise)
            mean = mean + gain @ (np.eye(count)[t // sample_interval] - mean[0])[None]
            covariance = covariance - gain @ covariance[:1]
        filtered.append((mean, covariance))
    matrix = np.stack([position for (position, _), _ in filtered])
    smooth = filtered[newest][0]
    for t in range(newest - 1, -1, -1):
        back = filtered[t][1] @ move.T @ np.linalg.inv(predicted[t + 1][1])
        smooth = filtered[t][0] + back @ (smooth - predicted[t + 1][0])
        matrix[t] = smooth[0]
    return matrix


def one_euro(
    poses: np.ndarray,  # [B, T, J, D] estimates on every step; NaN before the first
    rate_hz: float,
    min_cutoff_hz: float,
    beta: float,
    speed_cutoff_hz: float = 1.0,
) -> np.ndarray:  # [B, T, J, D]
    """The One-Euro filter: a low-pass whose cutoff grows with the speed of each coordinate, so that it lags less.

    `beta` is in Hz per unit a second, the unit being that of the poses. Source: Casiez, Roussel and Vogel (CHI 2012).
    """
    result = np.array(poses, np.float64)
    speed = np.zeros_like(result[:, 0])
    of_speed = _smoothing(np.array(speed_cutoff_hz), rate_hz)
    for t in range(1, poses.shape[1]):
        before, now = result[:, t - 1], result[:, t]
        started = ~np.isnan(before)
        speed = speed + of_speed * (np.where(started, (now - before) * rate_hz, 0.0) - speed)
        share = _smoothing(min_cutoff_hz + beta * np.abs(speed), rate_hz)
        result[:, t] = np.where(started, before + share * (now - before), now)
    return result


def _smoothing(cutoff_hz: np.ndarray, rate_hz: float) -> np.ndarray:
    """Share of the new value in an exponential average with this cutoff."""
    return 1 / (1 + rate_hz / (2 * np.pi * cutoff_hz))

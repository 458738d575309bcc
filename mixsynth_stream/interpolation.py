"""Interpolation: linear maps from keyframes to motion, which the untrained network computes and training starts from.

Source: cubic Hermite interpolation with Catmull-Rom tangents (Catmull and Rom 1974); damped trend (Gardner 1985);
natural cubic spline (de Boor, A Practical Guide to Splines, chapter 4).
"""

from __future__ import annotations

import numpy as np

# Time constant of the damped velocity: it fades to 1/e after 8 grid steps (0.27 s at 30 Hz).
DAMPING_STEPS = 8.0


def hermite_basis(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cubic Hermite basis at phases u in 0..1: weights of left value, left tangent, right value, right tangent."""
    u2, u3 = u * u, u * u * u
    return 2 * u3 - 3 * u2 + 1, u3 - 2 * u2 + u, -2 * u3 + 3 * u2, u3 - u2


def catmull_rom_matrix(
    sample_interval: int, step: int, horizon: int = 0, damping_steps: float = DAMPING_STEPS
) -> np.ndarray:
    """Weights [T, Q+1] that turn keyframes at steps 0, N .. QN into poses at steps 0 .. QN + H.

    Inside the window: cubic Hermite with Catmull-Rom tangents, one-sided at both ends. Beyond it: the newest pose plus
    the newest velocity, damped exponentially.
    """
    count = step + 1
    tangents = np.zeros((count, count))
    for q in range(count):
        left, right = max(q - 1, 0), min(q + 1, count - 1)
        tangents[q, right] += 1.0 / (right - left)
        tangents[q, left] -= 1.0 / (right - left)
    newest = sample_interval * step
    matrix = np.zeros((newest + 1 + horizon, count))
    for t in range(newest + 1):
        q = min(t // sample_interval, step - 1)
        h00, h10, h01, h11 = hermite_basis(np.asarray(t / sample_interval - q))
        matrix[t, q] += h00
        matrix[t, q + 1] += h01
        matrix[t] += h10 * tangents[q] + h11 * tangents[q + 1]
    for ahead in range(1, horizon + 1):
        distance = damping_steps * (1.0 - np.exp(-ahead / damping_steps)) / sample_interval
        matrix[newest + ahead] = distance * tangents[step]
        matrix[newest + ahead, step] += 1.0
    return matrix


def catmull_rom_at(
    time: np.ndarray,  # [..., K], not decreasing
    values: np.ndarray,  # [..., K, D]
    at: np.ndarray,  # [..., G]
) -> np.ndarray:  # [..., G, D]
    """Values at any times: cubic Hermite with Catmull-Rom tangents, one-sided at both ends, and constant beyond them.

    Where knots have the same time, the first or the last of them all are taken for one.
    """
    index = np.arange(time.shape[-1])
    after, before = np.minimum(index + 1, index[-1]), np.maximum(index - 1, 0)
    span = time[..., after] - time[..., before]
    slopes = (values[..., after, :] - values[..., before, :]) / np.where(span > 0, span, 1)[..., None]
    right = np.clip((time[..., None, :] < at[..., :, None]).sum(axis=-1), 1, max(index[-1], 1))
    left, right = right - 1, np.minimum(right, index[-1])
    start = np.take_along_axis(time, left, axis=-1)
    interval = np.take_along_axis(time, right, axis=-1) - start
    phase = np.clip((at - start) / np.where(interval > 0, interval, 1), 0, 1)
    h00, h10, h01, h11 = (share[..., None] for share in hermite_basis(phase))
    rows = (values, left), (slopes, left), (values, right), (slopes, right)
    v0, m0, v1, m1 = (np.take_along_axis(of, knot[..., None], axis=-2) for of, knot in rows)
    return np.asarray(h00 * v0 + h01 * v1 + interval[..., None] * (h10 * m0 + h11 * m1))


def catmull_rom_of_one(
    time: np.ndarray,  # [K], increasing
    values: np.ndarray,  # [K, D]
    at: np.ndarray,  # [G]
) -> np.ndarray:  # [G, D]
    """`catmull_rom_at` of one curve, with the same bits in a third of the time: only the slopes that count are made."""
    newest = len(time) - 1
    if not newest:
        return catmull_rom_at(time, values, at)
    right = np.minimum(np.maximum(time.searchsorted(at), 1), newest)
    left = right - 1
    knots = np.array([left, right, np.maximum(left - 1, 0), np.minimum(right + 1, newest)])
    start, end, before, after = time.take(knots)
    v0, v1, earlier, later = values.take(knots, axis=0)
    m0, m1 = (v1 - earlier) / (end - before)[:, None], (later - v0) / (after - start)[:, None]
    interval = (end - start)[:, None]
    phase = np.minimum(np.maximum((at - start)[:, None] / interval, 0), 1)
    h00, h10, h01, h11 = hermite_basis(phase)
    return np.asarray(h00 * v0 + h01 * v1 + interval * (h10 * m0 + h11 * m1))


def natural_spline_matrix(sample_interval: int, step: int) -> np.ndarray:
    """Weights [T, Q+1] of the natural cubic spline: two continuous derivatives, no curvature at both ends."""
    count, newest = step + 1, sample_interval * step
    values = np.eye(count)
    curvature = np.zeros((count, count))
    if count > 2:
        # Continuity of the slope at each inner keyframe, with intervals of length 1.
        equations = np.diag(np.full(count - 2, 4.0)) + np.diag(np.ones(count - 3), 1) + np.diag(np.ones(count - 3), -1)
        curvature[1:-1] = np.linalg.solve(equations, 6 * np.diff(values, 2, axis=0))
    steps = np.arange(newest + 1)
    left = np.minimum(steps // sample_interval, step - 1)
    b = (steps / sample_interval - left)[:, None]
    a = 1 - b
    line = a * values[left] + b * values[left + 1]
    return np.asarray(line + ((a**3 - a) * curvature[left] + (b**3 - b) * curvature[left + 1]) / 6)

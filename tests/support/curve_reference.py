"""Curves and glimpses in numpy, written to be read: `csrc/curve.h` and `csrc/glimpses.h` give the same numbers."""

from __future__ import annotations

import numpy as np

from mixsynth_stream.pipeline.curve import SAME_TIME_S, Curve, WindowPoses
from mixsynth_stream.pipeline.glance.evidence import VELOCITY_S, Glimpses
from mixsynth_stream.pipeline.glance.weigh import fused_sigma, shares
from mixsynth_stream.pipeline.motion import Origin

WIDE_GAP = 1.5  # grid spacings
NO_SIGMA_SHARE = 0.7


def lerp(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:  # [K, X], [M] -> [M, X]
    left = np.minimum(positions.astype(int), len(rows) - 1)
    share = (positions - left)[:, None]
    return rows[left] * (1.0 - share) + rows[np.minimum(left + 1, len(rows) - 1)] * share


def grid_steps(curve: Curve, times: np.ndarray) -> np.ndarray:  # [M]
    """Slots lie at multiples of N, linear between; after the newest, time goes on at the grid's rate."""
    config, seconds = curve.model.config, curve.slots.time_s
    oldest = (config.num_keyframes - len(seconds)) * config.sample_interval
    end_s = seconds[-1] + max(config.horizon, 1) / curve.model.info.rate_hz
    steps = [*range(oldest, config.newest + 1, config.sample_interval), config.seq_len - 1]
    return np.interp(times, [*seconds, end_s], steps)


def poses_and_scores(curve: Curve, times: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    config, space, slots = curve.model.config, curve.space, curve.slots
    joints, dims = slots.poses.shape[1:]
    rows = slots.poses
    if curve.output is not None:
        rows = rows - space.carried(rows[:, space.core]) + curve.network_input.root
    positions = np.minimum(steps, config.newest) / config.sample_interval - (config.num_keyframes - len(rows))
    poses = lerp(rows.reshape(len(rows), -1), positions).reshape(-1, joints, dims)
    if curve.output is not None:
        core = (lerp(curve.output, steps) * curve.network_input.scale).reshape(len(times), len(space.core), dims)
        poses = poses + space.carried(core)
    if curve.bridge is not None:
        fade = np.interp(times, [curve.bridge.start_s, curve.bridge.end_s], [1.0, 0.0])
        poses = poses + fade[:, None, None] * curve.bridge.offset
    return poses, lerp(slots.scores, positions)


def curve_at(curve: Curve, times: np.ndarray) -> WindowPoses:  # [M]
    """`Curve.at` of landmarks."""
    steps = grid_steps(curve, times)
    poses, scores = poses_and_scores(curve, times, steps)
    measured = np.array([joints for _, joints in curve.sightings])
    seen_s = np.where(measured, np.array([time_s for time_s, _ in curve.sightings])[:, None], np.nan)
    since = times[:, None, None] - seen_s
    since_s = np.where(since >= 0, since, np.inf).min(axis=1)
    until_s = np.where(since <= 0, -since, np.inf).min(axis=1)
    horizon_s = 0.0 if curve.output is None else curve.model.config.horizon / curve.model.info.rate_hz
    origin = np.where(since_s > horizon_s + SAME_TIME_S, Origin.HELD, Origin.FORECAST)
    origin = np.where(until_s < np.inf, Origin.FILLED, origin)
    origin[since_s == np.inf] = Origin.MISSING
    origin[np.minimum(since_s, until_s) <= SAME_TIME_S] = Origin.MEASURED
    missing = origin == Origin.MISSING
    poses, scores = np.where(missing[..., None], np.nan, poses), np.where(missing, 0.0, scores)
    return WindowPoses(poses, scores, origin.astype(np.uint8), _sigma(curve, steps, origin, since_s, until_s))


def _sigma(
    curve: Curve, steps: np.ndarray, origin: np.ndarray, since_s: np.ndarray, until_s: np.ndarray
) -> np.ndarray | None:
    config, rate_hz, carrier = curve.model.config, curve.model.info.rate_hz, curve.space.carrier
    if curve.sigma is None:
        return None
    in_gap = since_s + until_s <= WIDE_GAP * config.sample_interval / rate_hz
    ahead = np.minimum(since_s, until_s) * rate_hz
    positions = np.where(in_gap, steps[:, None], np.minimum(config.newest + ahead, config.seq_len - 1))
    left = np.minimum(positions.astype(int), config.seq_len - 2)
    below, above = curve.sigma[left, carrier], curve.sigma[left + 1, carrier]
    sigma = (below + (above - below) * (positions - left)) * np.maximum(ahead / max(config.horizon, 1), 1.0)
    return np.where(origin < Origin.FILLED, np.nan, sigma)


def corrections(
    glimpses: Glimpses,
    times: np.ndarray,  # [M]
    newest_s: tuple[float, float],  # the last glimpse, and one before it or the keyframe
    poses: np.ndarray,  # [M + 2, 17, 2] of the window at the times, and at these two
    sigma: np.ndarray | None,  # [M + 2, 17]
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:  # [M, 17, 2], [M, 17], [M, 17] bool
    """What is to be added to the window's poses, sigma afterwards, and which joints were followed."""
    all_times = np.array([*times, *newest_s])
    rows = np.minimum(np.searchsorted(glimpses.time_s, all_times - SAME_TIME_S), len(glimpses.time_s) - 1)
    seen = (np.abs(glimpses.time_s[rows] - all_times) <= SAME_TIME_S) & (glimpses.worth > 0.0)
    own, fused = glimpses.sigma[rows], None
    share = np.full(own.shape, glimpses.worth * NO_SIGMA_SHARE)
    if sigma is not None:
        share = glimpses.worth * shares(sigma, own, glimpses.trust)
        fused = np.where(seen[:, None], fused_sigma(sigma, own, share, glimpses.scale), sigma)[:-2]
    offsets = np.where(seen[:, None, None], share[..., None] * (glimpses.poses[rows] - poses), 0.0)
    offsets = np.nan_to_num(offsets)
    last, before = offsets[-2:]
    ahead = times - glimpses.time_s[-1]
    is_ahead = (ahead > SAME_TIME_S) & (glimpses.time_s[-1] > glimpses.since_s)
    velocity = (last - before) / max(newest_s[0] - newest_s[1], SAME_TIME_S)
    reach = VELOCITY_S * -np.expm1(-ahead[is_ahead] / VELOCITY_S)
    offsets[:-2][is_ahead] = last + velocity * reach[:, None, None]
    return offsets[:-2], fused, (seen[:, None] & glimpses.followed[rows])[:-2]

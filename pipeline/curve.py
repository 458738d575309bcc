"""Curve: what a window knows after a keyframe, one person in one space, as a function of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.rotations import nearest_6d
from mixsynth_stream.spaces import Space

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model

SAME_TIME_S = 1e-6
# Plain numbers, because numpy takes long to look at members of an enumeration.
_MISSING, _MEASURED, _FILLED, _FORECAST, _HELD = map(np.uint8, list(Origin)[:5])
# A gap wider than this many grid spacings lacks a keyframe: its middle is forecast from both ends.
_WIDE_GAP = 1.5


# When the person was seen, and which joints [J] were measured then.
Sighting = tuple[float, np.ndarray]


@dataclass(frozen=True)
class WindowPoses:
    """Poses of one person in one space at M times."""

    poses: np.ndarray  # [M, J, D] pixels, metres or rotations of 6 numbers, NaN where MISSING
    scores: np.ndarray  # [M, J] 0..1, 0 where MISSING
    origin: np.ndarray  # [M, J] Origin values, uint8
    # [M, J] how far off, pixels or metres, NaN where MEASURED or MISSING. None: the weights carry no uncertainty table
    sigma: np.ndarray | None = None

    def first(self, joints: int) -> WindowPoses:
        """The same of the first so many joints."""
        if self.origin.shape[1] == joints:
            return self
        sigma = None if self.sigma is None else self.sigma[:, :joints]
        return WindowPoses(self.poses[:, :joints], self.scores[:, :joints], self.origin[:, :joints], sigma)


class Slots(NamedTuple):
    """K keyframes on the grid, oldest first, at most Q + 1. A joint that was not measured holds a prediction."""

    time_s: tuple[float, ...]  # [K]
    poses: np.ndarray  # [K, J, D]
    scores: np.ndarray  # [K, J]


class Bridge(NamedTuple):
    """An offset that joins this curve to the one before: full at `start_s`, zero at `end_s`."""

    start_s: float
    end_s: float
    offset: np.ndarray  # [J, D]


class NetworkInput(NamedTuple):
    """Keyframes as the network takes them: minus `root`, divided by `scale`. Its output is normalised likewise."""

    keyframes: np.ndarray  # [Q+1, C * D]
    root: list[float]  # [D] in the unit of the poses
    scale: float  # in the unit of the poses


@dataclass(frozen=True)
class Curve:
    """What a window knows after a keyframe: immutable, so that a reader may keep it while the window moves on.

    Its J joints are all rows of the window: after those of the skeleton, the joints of the network that it lacks.
    """

    model: Model
    space: Space
    slots: Slots
    sightings: tuple[Sighting, ...]  # oldest first
    known: np.ndarray  # [J] bool: joints measured at least once
    network_input: NetworkInput
    output: np.ndarray | None  # [T, C * D] of the network; None while there is one keyframe only
    # Set where the slots were resampled, because the keyframe before is then none of them.
    bridge: Bridge | None = None

    def at(self, times_s: Sequence[float] | np.ndarray) -> WindowPoses:
        """Poses at M seconds: filled between keyframes, forecast past the newest one, held after the horizon."""
        times = np.asarray(times_s, dtype=np.float64)
        if times.ndim != 1 or np.count_nonzero(np.isfinite(times)) < len(times):
            raise ValueError(f"times_s must be a list of finite seconds, found {times_s!r}")
        steps = self._grid_steps(times)
        poses, scores = self._poses_and_scores(times, steps)
        if self.space.is_rotation:
            poses = nearest_6d(poses)
        since_s, until_s = self._seconds_to_sightings(times)
        origin = self._origin(since_s, until_s)
        missing = origin == _MISSING
        poses = np.where(missing[..., None], np.nan, poses)
        scores = np.where(missing, 0.0, scores)
        return WindowPoses(poses, scores, origin, self._sigma(steps, origin, since_s, until_s))

    def bridge_from(self, before: Curve) -> Bridge:
        """The offset that joins this curve to the one `before` at its last keyframe, so that nothing jumps there.

        Where that keyframe is older than all slots, the offset leads from it to the oldest slot.
        """
        start = np.array(before.slots.time_s[-1:])
        own = self._poses_and_scores(start, self._grid_steps(start))[0][0]
        start_s, oldest_s, newest_s = float(start[0]), self.slots.time_s[0], self.slots.time_s[-1]
        end_s = oldest_s if start_s < oldest_s - SAME_TIME_S else newest_s
        return Bridge(start_s, end_s, np.nan_to_num(before.at(start).poses[0] - own))

    def _grid_steps(self, times: np.ndarray) -> np.ndarray:  # [M] -> [M]
        """Grid positions of times: slots at multiples of N, linear between; after the newest, at the grid's rate."""
        config, seconds = self.model.config, self.slots.time_s
        oldest = (config.num_keyframes - len(seconds)) * config.sample_interval
        # The end has a step of its own even without a horizon, because np.interp needs times that grow.
        end_s = seconds[-1] + max(config.horizon, 1) / self.model.info.rate_hz
        steps = [*range(oldest, config.newest + 1, config.sample_interval), config.seq_len - 1]
        return np.interp(times, [*seconds, end_s], steps)

    def _poses_and_scores(
        self,
        times: np.ndarray,  # [M]
        steps: np.ndarray,  # [M]
    ) -> tuple[np.ndarray, np.ndarray]:  # [M, J, D], [M, J]
        """Poses and scores, linear between grid steps. Rotations come as numbers that `nearest_6d` has to mend."""
        config, scale = self.model.config, self.network_input.scale
        slots, joints, dims = self.slots.poses.shape
        positions = np.minimum(steps, config.newest) / config.sample_interval - (config.num_keyframes - slots)
        rows = _lerp(self._slot_rows, positions)
        poses, scores = rows[:, : joints * dims].reshape(-1, joints, dims), rows[:, joints * dims :]
        if self.output is not None:
            core = (_lerp(self.output, steps) * scale).reshape(len(times), len(self.space.core), dims)
            poses = poses + self.space.carried(core)
        if self.bridge is None:
            return poses, scores
        fade = np.interp(times, [self.bridge.start_s, self.bridge.end_s], [1.0, 0.0])
        return np.asarray(poses + fade[:, None, None] * self.bridge.offset), scores

    @cached_property
    def _slot_rows(self) -> np.ndarray:  # [K, J * D + J]
        """A row for each slot: the joints' offsets from their carriers plus the root, and the scores.

        The network's output is added to it. While there is none, a row holds the pose itself.
        """
        poses, space = self.slots.poses, self.space
        if self.output is not None:
            poses = poses - space.carried(poses.take(space.core, axis=1)) + self.network_input.root
        return np.concatenate([poses.reshape(len(poses), -1), self.slots.scores], axis=1)

    def _seconds_to_sightings(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [M] -> [M, J] each
        """The seconds since each joint was last measured, and until it is measured next; infinite without either."""
        since = times[:, None, None] - self._sightings_s  # [M, S, J]
        until = np.where(since <= 0, -since, np.inf)
        since = np.where(since >= 0, since, np.inf)
        return np.minimum.reduce(since, axis=1), np.minimum.reduce(until, axis=1)

    @cached_property
    def _sightings_s(self) -> np.ndarray:  # [S, J]
        """The time of each sighting; NaN for the joints that were not measured then."""
        measured = np.array([joints for _, joints in self.sightings])
        return np.where(measured, np.array([time_s for time_s, _ in self.sightings])[:, None], np.nan)

    def _origin(self, since_s: np.ndarray, until_s: np.ndarray) -> np.ndarray:  # [M, J] each -> [M, J]
        horizon_s = 0.0 if self.output is None else self.model.config.horizon / self.model.info.rate_hz
        ahead = np.where(since_s > horizon_s + SAME_TIME_S, _HELD, _FORECAST)
        origin = np.where(until_s < np.inf, _FILLED, ahead)
        origin[since_s == np.inf] = _MISSING
        origin[np.minimum(since_s, until_s) <= SAME_TIME_S] = _MEASURED
        return origin

    @cached_property
    def sigma(self) -> np.ndarray | None:  # [T, C]
        """How far off the network's output may be, in the unit of the poses. Computed at the first use."""
        table, (keyframes, _, scale) = self.model.sigma_table, self.network_input
        if table is None:
            return None
        if self.output is None:
            return table.typical(self.model.config) * scale
        keyframes = keyframes.reshape(len(keyframes), -1, self.space.dims)
        return table.on_grid(keyframes, self.model.config, self.model.info.rate_hz) * scale

    def _sigma(
        self,
        steps: np.ndarray,  # [M] grid steps
        origin: np.ndarray,  # [M, J]
        since_s: np.ndarray,  # [M, J]
        until_s: np.ndarray,  # [M, J]
    ) -> np.ndarray | None:  # [M, J]
        """Sigma by the time to the nearest sighting of each joint. A joint off the network has that of its carrier.

        Past the horizon a pose is only held, and sigma grows in proportion to the time.
        """
        grid_sigma, config, rate_hz = self.sigma, self.model.config, self.model.info.rate_hz
        if grid_sigma is None:
            return None
        in_gap = since_s + until_s <= _WIDE_GAP * config.sample_interval / rate_hz
        ahead = np.minimum(since_s, until_s) * rate_hz
        positions = np.where(in_gap, steps[:, None], np.minimum(config.newest + ahead, config.seq_len - 1))
        left, carrier = np.minimum(positions.astype(int), config.seq_len - 2), self.space.carrier
        below = grid_sigma[left, carrier]
        sigma = below + (grid_sigma[left + 1, carrier] - below) * (positions - left)
        sigma *= np.maximum(ahead / max(config.horizon, 1), 1.0)
        # Origins below FILLED are MISSING and MEASURED, which have no sigma.
        return np.where(origin < _FILLED, np.nan, sigma)


def _lerp(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:  # [K, X], [M] in 0..K-1 -> [M, X]
    left = positions.astype(int)
    share = (positions - left)[:, None]
    # The last row has no next one: "clip" repeats it, and its share is 0.
    return np.asarray(rows.take(left, axis=0) * (1.0 - share) + rows.take(left + 1, axis=0, mode="clip") * share)

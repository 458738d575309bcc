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
# As numbers of their own type, because numpy takes long to look at members of an enumeration.
_MISSING, _MEASURED, _FILLED, _FORECAST, _HELD = map(np.uint8, Origin)
# A gap wider than this many grid spacings has lost a keyframe: what is known of its middle is forecast from both ends.
_WIDE_GAP = 1.5


@dataclass(frozen=True)
class WindowPoses:
    """Poses read off a window at M times."""

    poses: np.ndarray  # [M, J, D] pixels, metres or rotations of 6 numbers, NaN where MISSING
    scores: np.ndarray  # [M, J] 0..1, 0 where MISSING
    origin: np.ndarray  # [M, J] Origin values, uint8
    # [M, J] how far off, pixels or metres, NaN where MEASURED or MISSING; None: the weights carry no uncertainty table
    sigma: np.ndarray | None = None


class Slots(NamedTuple):
    """Keyframes on the grid, oldest first, at most Q + 1. A joint that was not measured holds a prediction."""

    time_s: tuple[float, ...]  # K
    poses: np.ndarray  # [K, J, D]
    scores: np.ndarray  # [K, J]


class Bridge(NamedTuple):
    """From the curve before to this one: what to add at `start_s`, fading to nothing at the newest keyframe."""

    start_s: float
    offset: np.ndarray  # [J, D]


class Answer(NamedTuple):
    """What the network was given and what it said, in the unit that it works in."""

    keyframes: np.ndarray  # [Q+1, C * D]
    root: list[float]  # D, where its zero lies
    scale: float  # its unit, in that of the poses
    output: np.ndarray | None  # [T, C * D]; None while there is one keyframe only


@dataclass(frozen=True)
class Curve:
    """What a window knows after a keyframe: immutable, so that a reader may keep it while the window moves on."""

    model: Model
    space: Space
    slots: Slots
    sightings: tuple[tuple[float, np.ndarray], ...]  # (time_s, measured [J] bool), oldest first
    known: np.ndarray  # [J] bool: joints measured at least once
    answer: Answer
    bridge: Bridge | None = None  # where the slots were resampled, so that the keyframe before is no slot

    def at(self, times_s: Sequence[float] | np.ndarray) -> WindowPoses:
        """Poses at M seconds: filled between keyframes, forecast past the newest one, held after the horizon."""
        times = np.asarray(times_s, dtype=np.float64)
        if times.ndim != 1 or np.count_nonzero(np.isfinite(times)) < len(times):
            raise ValueError(f"times_s must be a list of finite seconds, found {times_s!r}")
        steps = self._grid_steps(times)
        poses, scores = self._raw_poses(times, steps)
        if self.space.is_rotation:
            poses = nearest_6d(poses)
        since_s, until_s = self._since_and_until(times)
        origin = self._origin(since_s, until_s)
        missing = origin == _MISSING
        poses = np.where(missing[..., None], np.nan, poses)
        scores = np.where(missing, 0.0, scores)
        return WindowPoses(poses, scores, origin, self._sigma(steps, origin, since_s, until_s))

    def bridge_from(self, before: Curve) -> Bridge:
        """What leads from another curve's end to this one, so that nothing jumps there."""
        start = np.array(before.slots.time_s[-1:])
        own = self._raw_poses(start, self._grid_steps(start))[0][0]
        return Bridge(float(start[0]), np.nan_to_num(before.at(start).poses[0] - own))

    def _grid_steps(self, times: np.ndarray) -> np.ndarray:  # [M] -> [M]
        """Grid steps: slots sit on multiples of N and time runs linearly between them, at the grid's rate beyond."""
        config, seconds = self.model.config, self.slots.time_s
        oldest = (config.num_keyframes - len(seconds)) * config.sample_interval
        # With a step of its own even where there is no horizon, because times must grow.
        end_s = seconds[-1] + max(config.horizon, 1) / self.model.info.rate_hz
        steps = [*range(oldest, config.newest + 1, config.sample_interval), config.seq_len - 1]
        return np.interp(times, [*seconds, end_s], steps)

    def _raw_poses(
        self,
        times: np.ndarray,  # [M]
        steps: np.ndarray,  # [M]
    ) -> tuple[np.ndarray, np.ndarray]:  # [M, J, D], [M, J]
        """Poses between grid steps, and scores; 6 numbers of a rotation are not quite a rotation here."""
        config, answer = self.model.config, self.answer
        slots, joints, dims = self.slots.poses.shape
        phase = np.minimum(steps, config.newest) / config.sample_interval - (config.num_keyframes - slots)
        rows = _lerp(self._off_network, phase)
        poses, scores = rows[:, : joints * dims].reshape(-1, joints, dims), rows[:, joints * dims :]
        if answer.output is not None:
            said = (_lerp(answer.output, steps) * answer.scale).reshape(len(times), len(self.space.core), dims)
            poses = poses + said.take(self.space.carrier, axis=1)
        if self.bridge is None:
            return poses, scores
        fade = np.interp(times, [self.bridge.start_s, self.slots.time_s[-1]], [1.0, 0.0])
        return np.asarray(poses + fade[:, None, None] * self.bridge.offset), scores

    @cached_property
    def _off_network(self) -> np.ndarray:  # [K, J * D + J]
        """What the network does not say of the slots: where joints lie from carrier and root, and scores."""
        poses, space = self.slots.poses, self.space
        if self.answer.output is not None:
            poses = poses - poses.take(space.core[space.carrier], axis=1) + self.answer.root
        return np.concatenate([poses.reshape(len(poses), -1), self.slots.scores], axis=1)

    def _since_and_until(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [M] -> [M, J] each
        """The seconds since each joint was last measured and those until it is, infinite if it is not."""
        since = times[:, None, None] - self._measured_s  # [M, S, J]
        until = np.where(since <= 0, -since, np.inf)
        since = np.where(since >= 0, since, np.inf)
        return np.minimum.reduce(since, axis=1), np.minimum.reduce(until, axis=1)

    @cached_property
    def _measured_s(self) -> np.ndarray:  # [S, J]
        """The time of each sighting, NaN for the joints that it did not measure."""
        measured = np.array([joints for _, joints in self.sightings])
        return np.where(measured, np.array([time_s for time_s, _ in self.sightings])[:, None], np.nan)

    def _origin(self, since_s: np.ndarray, until_s: np.ndarray) -> np.ndarray:  # [M, J] each -> [M, J]
        horizon_s = 0.0 if self.answer.output is None else self.model.config.horizon / self.model.info.rate_hz
        ahead = np.where(since_s > horizon_s + SAME_TIME_S, _HELD, _FORECAST)
        origin = np.where(until_s < np.inf, _FILLED, ahead)
        origin[since_s == np.inf] = _MISSING
        origin[np.minimum(since_s, until_s) <= SAME_TIME_S] = _MEASURED
        return origin

    @cached_property
    def sigma(self) -> np.ndarray | None:  # [T, C]
        """How far off the network's output may be, in the unit of the poses: made when first asked for."""
        table, answer = self.model.sigma_table, self.answer
        if table is None:
            return None
        if answer.output is None:
            return table.typical(self.model.config) * answer.scale
        keyframes = answer.keyframes.reshape(len(answer.keyframes), -1, self.space.dims)
        return table.on_grid(keyframes, self.model.config, self.model.info.rate_hz) * answer.scale

    def _sigma(
        self,
        steps: np.ndarray,  # [M] grid steps
        origin: np.ndarray,  # [M, J]
        since_s: np.ndarray,  # [M, J]
        until_s: np.ndarray,  # [M, J]
    ) -> np.ndarray | None:  # [M, J]
        """Sigma by the time to the nearest sighting of each joint; a landmark off the network has its carrier's.

        A held pose knows less with every second: past the horizon sigma grows in proportion to the time.
        """
        table, config, rate_hz = self.sigma, self.model.config, self.model.info.rate_hz
        if table is None:
            return None
        in_gap = since_s + until_s <= _WIDE_GAP * config.sample_interval / rate_hz
        ahead = np.minimum(since_s, until_s) * rate_hz
        where = np.where(in_gap, steps[:, None], np.minimum(config.newest + ahead, config.seq_len - 1))
        left, carrier = np.minimum(where.astype(int), config.seq_len - 2), self.space.carrier
        below = table[left, carrier]
        sigma = below + (table[left + 1, carrier] - below) * (where - left)
        sigma *= np.maximum(ahead / max(config.horizon, 1), 1.0)
        # Those that are MISSING or MEASURED.
        return np.where(origin < _FILLED, np.nan, sigma)


def _lerp(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:  # [K, X], [M] in 0..K-1 -> [M, X]
    left = positions.astype(int)
    share = (positions - left)[:, None]
    # Past the last row there is none, and its share is 0.
    return np.asarray(rows.take(left, axis=0) * (1.0 - share) + rows.take(left + 1, axis=0, mode="clip") * share)

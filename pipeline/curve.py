"""Curve: what a window knows after a keyframe, one person in one space, as a function of time."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mixsynth_stream.rotations import nearest_6d
from mixsynth_stream.spaces import Space

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model

# By name, because the extension has no types.
native: Any = importlib.import_module("mixsynth_stream._C")

SAME_TIME_S = 1e-6
# A gap wider than this many grid spacings lacks a keyframe: its middle is forecast from both ends.
_WIDE_GAP = 1.5
# What a curve computes once, and a bridge changes nothing of.
_WITHOUT_BRIDGE = ("_moves", "_slot_rows", "_sightings_s")


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


@lru_cache(maxsize=64)
def _knot_steps(interval: int, step: int, seq_len: int, keyframes: int) -> np.ndarray:  # [K + 1]
    """The grid steps of so many keyframes, the newest of the window, and of its end."""
    steps = [*range((step + 1 - keyframes) * interval, step * interval + 1, interval), seq_len - 1]
    result = np.array(steps, np.float64)
    result.setflags(write=False)  # curves share it
    return result


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
        poses, scores, origin, sigma = self._native.at(times)
        if self.space.is_rotation:
            poses = nearest_6d(poses)
        return WindowPoses(poses, scores, origin, sigma)

    def bridged_from(self, before: Curve) -> Curve:
        """This curve, joined to the one `before` at its last keyframe, so that nothing jumps there.

        Where that keyframe is older than all slots, the offset leads from it to the oldest slot.
        """
        start = np.array(before.slots.time_s[-1:])
        own = self._over_time(None).at(start)[0][0]
        start_s, oldest_s, newest_s = float(start[0]), self.slots.time_s[0], self.slots.time_s[-1]
        end_s = oldest_s if start_s < oldest_s - SAME_TIME_S else newest_s
        offset = before.at(start).poses[0] - own
        # Not `np.nan_to_num` nor `dataclasses.replace`, which take three times as long.
        bridge = Bridge(start_s, end_s, np.where(np.isnan(offset), 0.0, offset))
        own_fields = self.model, self.space, self.slots, self.sightings, self.known, self.network_input, self.output
        bridged = Curve(*own_fields, bridge)
        # What both have in common is known already.
        bridged.__dict__.update({name: self.__dict__[name] for name in _WITHOUT_BRIDGE})
        return bridged

    @cached_property
    def _native(self) -> Any:  # _C.Curve
        return self._over_time(None if self.sigma is None else self.sigma.take(self.space.carrier, axis=1))

    def _over_time(self, sigma: np.ndarray | None) -> Any:  # [T, J] -> _C.Curve
        """All that it takes to read poses at a time: slots lie at multiples of N on the grid, and linear between."""
        config, rate_hz, seconds, bridge = self.model.config, self.model.info.rate_hz, self.slots.time_s, self.bridge
        # The end has a step of its own even without a horizon, because knots must grow.
        end_s = seconds[-1] + max(config.horizon, 1) / rate_hz
        return native.Curve(
            knot_s=np.array([*seconds, end_s]),
            knot_steps=_knot_steps(config.sample_interval, config.step, config.seq_len, len(seconds)),
            rows=self._slot_rows,
            sighting_s=self._sightings_s,
            moves=self._moves,
            scale=self.network_input.scale,
            sigma=sigma,
            offset=None if bridge is None else bridge.offset,
            bridge_s=(0.0, 0.0) if bridge is None else (bridge.start_s, bridge.end_s),
            interval=config.sample_interval,
            newest=config.newest,
            horizon=config.horizon,
            rate_hz=rate_hz,
            same_time_s=SAME_TIME_S,
            wide_gap_s=_WIDE_GAP * config.sample_interval / rate_hz,
            dims=self.space.dims,
        )

    @cached_property
    def _moves(self) -> np.ndarray | None:  # [T, J * D]
        """The network's output, a row for each grid step, and in it what each joint moves with."""
        if self.output is None:
            return None
        steps = len(self.output)
        core = self.output.astype(np.float64).reshape(steps, len(self.space.core), self.space.dims)
        return self.space.carried(core).reshape(steps, -1)

    @cached_property
    def _slot_rows(self) -> np.ndarray:  # [K, J * D + J]
        """A row for each slot: the joints' offsets from their carriers plus the root, and the scores.

        The network's output is added to it. While there is none, a row holds the pose itself.
        """
        poses, space = self.slots.poses, self.space
        if self.output is not None:
            poses = poses - space.carried(poses.take(space.core, axis=1)) + self.network_input.root
        return np.concatenate([poses.reshape(len(poses), -1), self.slots.scores], axis=1)

    @cached_property
    def _sightings_s(self) -> np.ndarray:  # [S, J]
        """The time of each sighting; NaN for the joints that were not measured then."""
        measured = np.array([joints for _, joints in self.sightings])
        return np.where(measured, np.array([time_s for time_s, _ in self.sightings])[:, None], np.nan)

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

"""MotionWindow: the last few keyframes of one person in one space, as a function of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.rotations import matrix_to_6d, nearest_6d
from mixsynth_stream.skeleton import BLAZEPOSE_33, CARRIER, CORE_17, CORE_FROM_BLAZEPOSE, SMPL_24, Skeleton

if TYPE_CHECKING:
    from mixsynth_stream.config import ModelConfig
    from mixsynth_stream.uncertainty import SigmaTable
    from mixsynth_stream.weights import Model

# Keyframes whose spacing is further off the grid than this share are resampled to it before the network sees them:
# training has seen 20 % (time warp) with half a frame of jitter on top.
_SPACING_TOLERANCE = 0.3
_SAME_TIME_S = 1e-6
# A gap wider than this many grid spacings has lost a keyframe: what is known of its middle is forecast from both ends.
_WIDE_GAP = 1.5


@dataclass(frozen=True)
class Space:
    """What a pose is in one space: J joints of D numbers each, and which of them the network runs on."""

    name: str
    skeleton: Skeleton  # of the J joints
    dims: int
    network: Skeleton  # of the C joints that the network runs on
    core: np.ndarray  # [C] which of the J these are
    carrier: np.ndarray  # [J] which of the C each joint moves with
    is_rotation: bool = False


def _landmarks(name: str, dims: int) -> Space:
    return Space(name, BLAZEPOSE_33, dims, CORE_17, np.array(CORE_FROM_BLAZEPOSE), np.array(CARRIER))


POSE_SPACES = {
    "image": _landmarks("image", 2),
    "world": _landmarks("world", 3),
    # Every joint of SMPL is one of the network's: none is carried by another.
    "rotation": Space("rotation", SMPL_24, 6, SMPL_24, np.arange(24), np.arange(24), is_rotation=True),
}
_NOT_TURNED = matrix_to_6d(np.eye(3))


@dataclass(frozen=True)
class WindowPoses:
    """Poses read off a window at M times."""

    poses: np.ndarray  # [M, J, D] pixels, metres or rotations of 6 numbers, NaN where MISSING
    scores: np.ndarray  # [M, J] 0..1, 0 where MISSING
    origin: np.ndarray  # [M, J] Origin values, uint8
    # [M, J] how far off, pixels or metres, NaN where MEASURED or MISSING; None: the weights carry no uncertainty table
    sigma: np.ndarray | None = None


@dataclass(frozen=True)
class _Slots:
    """Keyframes on the grid, oldest first, at most Q + 1. A joint that was not measured holds a prediction."""

    time_s: np.ndarray  # [K]
    poses: np.ndarray  # [K, J, D]
    scores: np.ndarray  # [K, J]


@dataclass(frozen=True)
class _Bridge:
    """From the curve before to this one: what to add at `start_s`, fading to nothing at the newest keyframe."""

    start_s: float
    offset: np.ndarray  # [J, D]


@dataclass(frozen=True)
class _Unsure:
    """What sigma is made of."""

    table: SigmaTable
    keyframes: np.ndarray  # [Q+1, C, D] as the network saw them
    scale: float  # of the unit that the network works in, in the unit of the poses


@dataclass(frozen=True)
class Curve:
    """What a window knows after a keyframe: immutable, so that a reader may keep it while the window moves on."""

    slots: _Slots
    sightings: tuple[tuple[float, np.ndarray], ...]  # (time_s, measured [J] bool), oldest first
    known: np.ndarray  # [J] bool: joints measured at least once
    core: np.ndarray | None  # [T, C, D] the network's output; None while there is one keyframe only
    config: ModelConfig
    rate_hz: float
    space: Space
    bridge: _Bridge | None = None  # where the slots were resampled, so that the keyframe before is no slot
    unsure: _Unsure | None = None

    @cached_property
    def sigma(self) -> np.ndarray | None:  # [T, C]
        """How far off the network's output may be, in the unit of the poses: made when first asked for."""
        if self.unsure is None:
            return None
        table = self.unsure.table
        if self.core is None:
            return table.typical(self.config) * self.unsure.scale
        return table.on_grid(self.unsure.keyframes, self.config, self.rate_hz) * self.unsure.scale

    def at(self, times_s: Sequence[float] | np.ndarray) -> WindowPoses:
        """Poses at M seconds: filled between keyframes, forecast past the newest one, held after the horizon."""
        times = np.asarray(times_s, dtype=np.float64)
        if times.ndim != 1 or not np.isfinite(times).all():
            raise ValueError(f"times_s must be a list of finite seconds, found {times_s!r}")
        phase = np.interp(times, self.slots.time_s, np.arange(len(self.slots.time_s)))
        steps = self._grid_steps(times, phase)
        poses = self._raw_poses(times, phase, steps)
        if self.space.is_rotation:
            poses = nearest_6d(poses)
        origin, since_s, until_s = self._origin(times)
        missing = origin == Origin.MISSING
        poses = np.where(missing[..., None], np.nan, poses)
        scores = np.where(missing, 0.0, _lerp(self.slots.scores, phase))
        return WindowPoses(poses, scores, origin, self._sigma(steps, origin, since_s, until_s))

    def bridge_from(self, before: Curve) -> _Bridge:
        """What leads from another curve's end to this one, so that nothing jumps there."""
        start = before.slots.time_s[-1:]
        phase = np.interp(start, self.slots.time_s, np.arange(len(self.slots.time_s)))
        own = self._raw_poses(start, phase, self._grid_steps(start, phase))[0]
        return _Bridge(float(start[0]), np.nan_to_num(before.at(start).poses[0] - own))

    def _raw_poses(self, times: np.ndarray, phase: np.ndarray, steps: np.ndarray) -> np.ndarray:  # [M] -> [M, J, D]
        """The network's output between its steps; 6 numbers of a rotation are not quite a rotation here."""
        slots, carrier = self.slots, self.space.carrier
        if self.core is None:
            poses = np.repeat(slots.poses[-1:], len(times), axis=0)
        else:
            offsets = slots.poses - slots.poses[:, self.space.core][:, carrier]
            poses = _lerp(self.core, steps)[:, carrier] + _lerp(offsets, phase)
        if self.bridge is None:
            return poses
        fade = np.interp(times, [self.bridge.start_s, slots.time_s[-1]], [1.0, 0.0])
        return np.asarray(poses + fade[:, None, None] * self.bridge.offset)

    def _grid_steps(self, times: np.ndarray, phase: np.ndarray) -> np.ndarray:  # [M], [M] -> [M]
        """Grid steps: slots sit on multiples of N and time runs linearly between them, at the grid's rate beyond."""
        padding = self.config.num_keyframes - len(self.slots.time_s)
        ahead = np.maximum(times - self.slots.time_s[-1], 0.0) * self.rate_hz
        return np.minimum((padding + phase) * self.config.sample_interval + ahead, self.config.seq_len - 1)

    def _origin(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [M] -> [M, J] each
        """Origins, the seconds since each joint was last measured and those until it is, infinite if it is not."""
        measured = np.array([joints for _, joints in self.sightings])  # [S, 33]
        delta = times[:, None] - np.array([time_s for time_s, _ in self.sightings])  # [M, S]
        here = (np.abs(delta) <= _SAME_TIME_S) @ measured
        since = np.where((delta >= 0)[..., None] & measured, delta[..., None], np.inf).min(axis=1)  # [M, J]
        until = np.where((delta <= 0)[..., None] & measured, -delta[..., None], np.inf).min(axis=1)
        before, after = since < np.inf, until < np.inf
        horizon_s = 0.0 if self.core is None else self.config.horizon / self.rate_hz
        origin = np.full(before.shape, Origin.MISSING, np.uint8)
        origin[before] = Origin.FORECAST
        origin[before & (since > horizon_s + _SAME_TIME_S)] = Origin.HELD
        origin[before & after] = Origin.FILLED
        origin[here] = Origin.MEASURED
        origin[:, ~self.known] = Origin.MISSING
        return origin, since, until

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
        if self.sigma is None:
            return None
        config = self.config
        gap_s = _WIDE_GAP * config.sample_interval / self.rate_hz
        ahead = np.where(np.isfinite(since_s), np.minimum(since_s, until_s), 0.0) * self.rate_hz
        in_gap = (origin == Origin.FILLED) & (since_s + until_s <= gap_s)
        where = np.where(in_gap, steps[:, None], np.minimum(config.newest + ahead, config.seq_len - 1))
        left = np.minimum(where.astype(int), config.seq_len - 2)
        carrier = self.space.carrier
        below = self.sigma[left, carrier]
        sigma = below + (self.sigma[left + 1, carrier] - below) * (where - left)
        sigma *= np.maximum(ahead / max(config.horizon, 1), 1.0)
        return np.asarray(np.where((origin == Origin.MEASURED) | (origin == Origin.MISSING), np.nan, sigma))


class MotionWindow:
    """One person in one space: push keyframes in, read poses at any time out.

    `model` says the space, the spacing N and the number of keyframes Q + 1. `min_scale` is the smallest body scale
    that normalisation divides by, in the unit of the poses (the stream gives 2 % of the frame height in images).
    State is this object's alone; `reset()` restores the empty window.
    """

    def __init__(self, model: Model, *, min_scale: float = 0.0) -> None:
        self.space = POSE_SPACES[model.info.space]
        model.expect(self.space.network, model.info.space)
        if self.space.is_rotation and model.info.normalisation != "none":
            raise ModelError(
                f"rotations have no root and no size, but these weights want normalisation {model.info.normalisation}; "
                "convert them again with normalisation none"
            )
        self._model = model
        self.min_scale = min_scale
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._slots: _Slots | None = None
        self.curve: Curve | None = None

    def push(
        self,
        pose: np.ndarray
        | None,  # [J, D] in the unit of the space, NaN for a joint that was not seen; None: nobody seen
        scores: np.ndarray | None,  # [J] 0..1
        time_s: float,
    ) -> None:
        """Take a keyframe and run the network once. A keyframe without a person takes the window's own prediction."""
        if self._slots is not None and time_s <= self._slots.time_s[-1]:
            raise ValueError(f"keyframe times must increase, found {time_s} s after {self._slots.time_s[-1]} s")
        if pose is None:
            self._push_prediction(time_s)
            return
        pose, scores = self._checked(pose, scores)
        measured = np.isfinite(pose).all(axis=1)
        if not np.count_nonzero(measured):
            self._push_prediction(time_s)
            return
        pose = self._complete(pose, measured, time_s)
        spaced = self._spaced(time_s, pose)
        slots = self._appended(spaced, pose, scores, time_s)
        known, sightings = measured, [(time_s, measured)]
        if self.curve is not None:
            if np.count_nonzero(self.curve.known) < len(measured):
                first_seen = measured & ~self.curve.known
                slots.poses[:, first_seen] = pose[first_seen]
            known = measured | self.curve.known
            sightings = [s for s in self.curve.sightings if s[0] >= slots.time_s[0] - _SAME_TIME_S] + sightings
        core, unsure = self._run_network(slots)
        config, rate_hz = self._model.config, self._model.info.rate_hz
        curve = Curve(slots, tuple(sightings), known, core, config, rate_hz, self.space, unsure=unsure)
        if self.curve is not None and spaced is not self._slots:
            curve = replace(curve, bridge=curve.bridge_from(self.curve))
        self._slots, self.curve = slots, curve

    def at(self, times_s: Sequence[float] | np.ndarray) -> WindowPoses:
        """Poses at M seconds; see `Curve.at`. An empty window gives MISSING everywhere."""
        if self.curve is None:
            shape = (len(times_s), len(self.space.skeleton))
            nothing = np.full((*shape, self.space.dims), np.nan)
            sigma = None if self._model.sigma_table is None else np.full(shape, np.nan)
            return WindowPoses(nothing, np.zeros(shape), np.full(shape, Origin.MISSING, np.uint8), sigma)
        return self.curve.at(times_s)

    def _checked(self, pose: np.ndarray, scores: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        pose = np.array(pose, dtype=np.float64)
        expected = (len(self.space.skeleton), self.space.dims)
        if pose.shape != expected:
            raise ValueError(f"pose must be {list(expected)} in {self._model.info.space} space, found {pose.shape}")
        scores = np.ones(expected[0]) if scores is None else np.array(scores, dtype=np.float64)
        if scores.shape != expected[:1]:
            raise ValueError(f"scores must be [{expected[0]}], found {scores.shape}")
        pose = nearest_6d(pose) if self.space.is_rotation else pose
        return pose, np.where(np.isfinite(scores), scores, 0.0)

    def _push_prediction(self, time_s: float) -> None:
        """Mark a keyframe as missed. The curve stays: it reaches past this time, and no sighting has changed it."""
        if self.curve is None or self._slots is None:
            return
        predicted = self.curve.at([time_s])
        pose = np.where(np.isfinite(predicted.poses[0]), predicted.poses[0], self._slots.poses[-1])
        self._slots = self._appended(self._slots, pose, predicted.scores[0], time_s)

    def _complete(self, pose: np.ndarray, measured: np.ndarray, time_s: float) -> np.ndarray:
        """Unseen joints take the prediction; those without one move with the body, at first from its middle.

        Rotations are relative to the joint before: without a prediction they stay as they were, at first not turned.
        """
        if np.count_nonzero(measured) == len(measured):
            return pose
        still = self.space.is_rotation
        fallback = np.broadcast_to(_NOT_TURNED if still else pose[measured].mean(axis=0), pose.shape)
        if self.curve is not None and self._slots is not None:
            predicted = self.curve.at([time_s]).poses[0]
            before = self._slots.poses[-1]
            moved = before if still else before + (pose[measured] - before[measured]).mean(axis=0)
            fallback = np.where(np.isfinite(predicted), predicted, moved)
        return np.where(measured[:, None], pose, fallback)

    def _appended(self, slots: _Slots | None, pose: np.ndarray, scores: np.ndarray, time_s: float) -> _Slots:
        if slots is None:
            return _Slots(np.array([time_s]), pose[None].copy(), scores[None])
        keep = slice(-self._model.config.step, None)
        return _Slots(
            np.concatenate([slots.time_s[keep], [time_s]]),
            np.concatenate([slots.poses[keep], pose[None]]),
            np.concatenate([slots.scores[keep], scores[None]]),
        )

    def _spaced(self, time_s: float, pose: np.ndarray) -> _Slots | None:
        """The earlier slots, resampled to the grid that ends at `time_s` where the new keyframe falls off it.

        That happens at the last frame of a file and in sources slower than the keyframe rate: there the spacing would
        make a person look several times faster or slower than anything the network was trained on.
        """
        slots, config = self._slots, self._model.config
        if slots is None or self.curve is None:
            return None
        spacing_s = config.sample_interval / self._model.info.rate_hz
        if abs((time_s - slots.time_s[-1]) / spacing_s - 1.0) <= _SPACING_TOLERANCE:
            return slots
        times = time_s - spacing_s * np.arange(config.step, 0, -1)
        times = times[times >= slots.time_s[0] - _SAME_TIME_S]
        if not len(times):
            return _Slots(np.array([time_s - spacing_s]), slots.poses[-1:], slots.scores[-1:])
        past = self.curve.at(np.minimum(times, slots.time_s[-1]))
        gap = np.clip((times - slots.time_s[-1]) / (time_s - slots.time_s[-1]), 0.0, 1.0)[:, None, None]
        known = np.isfinite(past.poses)
        poses = np.where(known, past.poses, slots.poses[-1]) * (1.0 - gap) + pose * gap
        return _Slots(times, nearest_6d(poses) if self.space.is_rotation else poses, past.scores)

    def _run_network(self, slots: _Slots) -> tuple[np.ndarray | None, _Unsure | None]:
        """The network's output [T, C, D], None from a single keyframe, and what its sigma is made of."""
        config, table = self._model.config, self._model.sigma_table
        keyframes = slots.poses.take(self.space.core, axis=1)  # [Q+1, C, D]
        if (missing := config.num_keyframes - len(keyframes)) > 0:
            keyframes = np.concatenate([np.repeat(keyframes[:1], missing, axis=0), keyframes])
        root, scale = root_and_scale(keyframes, self._model.info.normalisation, self.min_scale)
        normalised = (keyframes - root) / scale
        unsure = None if table is None else _Unsure(table, normalised, float(scale[0, 0, 0]))
        if len(slots.time_s) < 2:
            return None, unsure
        inputs = normalised.reshape(1, config.num_keyframes, config.joint_dim)
        # A row of all joints, because numpy is slow on rows of two or three numbers.
        root_row = root.repeat(len(self.space.core), axis=-2).ravel()
        poses = self._model(inputs.astype(np.float32))[0] * scale[0] + root_row
        return poses.reshape(config.seq_len, -1, self.space.dims), unsure


def _lerp(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:  # [K, ...], [M] in 0..K-1 -> [M, ...]
    left = np.minimum(positions.astype(int), max(len(rows) - 2, 0))
    share = (positions - left).reshape(-1, *[1] * (rows.ndim - 1))
    right = np.minimum(left + 1, len(rows) - 1)
    return np.asarray(rows[left] * (1.0 - share) + rows[right] * share)

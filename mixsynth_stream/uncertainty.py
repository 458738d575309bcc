"""Uncertainty: how far off a pose that nobody measured may be. A table in the weight file, outside the network.

The error is the distance between a pose and what the estimator itself would have said, its quick jitter aside, in body
scales (images) or metres. It grows towards the middle of a gap and with the horizon, and above all with how lively the
motion is, which the keyframes tell: a mean of `SPEEDS`, weighted. Rows: joint group and step; columns: liveliness.
numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.skeleton import CORE_17

VERSION = 2
PARTS = ("filled", "forecast")
SHARES = (0.5, 0.9)

# What makes up the liveliness of a joint in an interval, all in units a second: its speed; how much its velocity
# changed since the interval before; how much that changes over the whole window (what a curve through the keyframes
# cannot foresee); the change of velocity of the whole body; the jerk of the feet. Speed alone takes a slow moment of a
# dance for physiotherapy.
SPEEDS = ("speed", "change", "jerk", "body_change", "feet_jerk")
# Each has its weights: in the gaps, and ahead they go from those of the newest keyframe to those of the horizon.
STAGES = ("gap", "newest", "horizon")
# Below this (units a second) the estimator's jitter is all that there is to see.
_STILL = 0.02
# Numbers in the file have three digits.
_ROUNDING = 0.01


def _group(joint: str) -> str:
    side, _, part = joint.partition("_")
    return part if side in ("left", "right") else joint


# Left and right share a row: nose, shoulder, elbow, wrist, index, hip, knee, ankle, foot_index.
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(_group(name) for name in CORE_17.joints))
GROUP_OF_JOINT = np.array([GROUPS.index(_group(name)) for name in CORE_17.joints])  # [17]
_OF_FEET = np.array([float(_group(name) in ("ankle", "foot_index")) for name in CORE_17.joints])
# A product with this gives, for each joint, its own number, the mean over the whole body and that over the feet.
_WITH_MEANS = np.concatenate([np.eye(len(CORE_17)), np.full((len(CORE_17), len(CORE_17)), 1 / len(CORE_17)),
                              np.repeat(_OF_FEET[:, None] / _OF_FEET.sum(), len(CORE_17), axis=1)], axis=1)  # fmt: skip
# Which of the three each of `SPEEDS` is.
_OWN_OR_MEAN = np.array([0, 0, 0, 1, 2])


def log_speeds(
    keyframes: np.ndarray,  # [..., Q+1, 17, D] normalised: body scales or metres
    period_s: float,
) -> np.ndarray:  # [..., Q, 17, 5]
    """The logarithms of `SPEEDS` for each joint and interval."""
    logs = _logs(keyframes, period_s)
    logs = logs.reshape(*logs.shape[:-2], -1, 3, len(CORE_17))
    rows, joints = _rows(keyframes.shape[-3] - 1), np.arange(len(CORE_17))
    return np.asarray(logs[..., rows[:, None], _OWN_OR_MEAN, joints[:, None]])


def _logs(
    keyframes: np.ndarray,  # [..., Q+1, 17, D]
    period_s: float,
) -> np.ndarray:  # [..., R * 3, 17]
    """All that is in `log_speeds`, once: of each interval's speed, of each change between two, and of the jerk.

    A few products instead of many small steps, because a stream asks for one window at a time.
    """
    differences, jerk_as_mean = _differences(keyframes.shape[-3] - 1, period_s)
    vectors = differences @ keyframes.reshape(*keyframes.shape[:-2], -1)
    squares = (vectors * vectors).reshape(*vectors.shape[:-1], *keyframes.shape[-2:])
    speeds = jerk_as_mean @ np.sqrt(np.add.reduce(squares, axis=-1)) @ _WITH_MEANS  # [..., R, 3 * 17]
    return np.log(speeds + _STILL).reshape(*speeds.shape[:-2], -1, len(CORE_17))


@lru_cache(maxsize=16)
def _differences(intervals: int, period_s: float) -> tuple[np.ndarray, np.ndarray]:  # [V, Q+1], [R, V]
    """What makes velocities, their changes and the jerks out of keyframes, and the mean of the jerks' lengths."""
    velocity = np.diff(np.eye(intervals + 1), axis=0) / period_s
    # Two keyframes have one velocity only, three one change of it.
    changes = np.diff(velocity, axis=0) if intervals > 1 else velocity
    jerks = np.diff(changes, axis=0) if len(changes) > 1 else changes
    as_they_are = len(velocity) + len(changes)
    jerk_as_mean = np.zeros((as_they_are + 1, as_they_are + len(jerks)))
    jerk_as_mean[:as_they_are, :as_they_are] = np.eye(as_they_are)
    jerk_as_mean[-1, as_they_are:] = 1 / len(jerks)
    return np.concatenate([velocity, changes, jerks]), jerk_as_mean


def _rows(intervals: int) -> np.ndarray:  # [Q, 5]
    """Which of the R rows in `_logs` each of `SPEEDS` is, for each interval."""
    interval, jerk = np.arange(intervals), np.full(intervals, intervals + max(intervals - 1, 1))
    # The first interval has the change at its end.
    change = intervals + np.maximum(interval - 1, 0)
    return np.stack([interval, change, jerk, change, jerk], axis=-1)


def liveliness_on_grid(
    log_speeds: np.ndarray,  # [..., Q, 17, 5]
    weights: np.ndarray,  # [3, 5] of STAGES
    config: ModelConfig,
) -> np.ndarray:  # [..., 17, T]
    """The logarithm of the liveliness that counts at each grid step: that of its interval and stage."""
    stages = np.swapaxes(log_speeds @ weights.T, -3, -2)  # [..., 17, Q, 3]
    return np.asarray(stages.reshape(*stages.shape[:-2], -1) @ stage_of_step(config))


@lru_cache(maxsize=16)
def stage_of_step(config: ModelConfig) -> np.ndarray:  # [Q * 3, T]
    """The share of each interval and stage in each grid step."""
    n, newest = config.sample_interval, config.newest
    shares = np.zeros((config.step, len(STAGES), config.seq_len))
    for step in range(newest + 1):
        shares[min(step // n, config.step - 1), 0, step] = 1
    ahead = np.arange(1, config.horizon + 1) / max(config.horizon, 1)
    shares[-1, 1, newest + 1 :], shares[-1, 2, newest + 1 :] = 1 - ahead, ahead
    shares.setflags(write=False)
    return shares.reshape(-1, config.seq_len)


class _Grid(NamedTuple):
    """A table laid out for the steps of one network."""

    of_logs: np.ndarray  # [T, R * 3] its product with `_logs` is the log liveliness
    # Log sigma up to each column, and past the last: start + slope * log liveliness.
    nodes: np.ndarray  # [K] log liveliness of the columns
    starts: np.ndarray  # [K+1, T, 17]
    slopes: np.ndarray  # [K+1, T, 17]
    cells: np.ndarray  # [T, 17] numbered

    def sigma(self, level: np.ndarray) -> np.ndarray:  # [..., T, 17] log liveliness -> [..., T, 17]
        """The table at this liveliness: linear between columns, in logarithms."""
        at = self.nodes.searchsorted(level) * self.cells.size + self.cells
        log_sigma = self.slopes.take(at) * level
        log_sigma += self.starts.take(at)
        return np.exp(log_sigma, out=log_sigma)


@dataclass(frozen=True, eq=False)
class SigmaTable:
    """Sigma by joint group, step and liveliness, and the multipliers that turn it into bounds.

    Steps count from the older keyframe of a gap, or from the newest keyframe. `earlier` is for all gaps but the newest.
    An error is at most `multipliers[part, group, share] * sigma` in `SHARES[share]` of the cases.
    """

    earlier: tuple[int, ...]  # 0 .. N
    gap: tuple[int, ...]  # 0 .. N
    ahead: tuple[int, ...]  # 1 .. H
    liveliness: tuple[float, ...]  # [K] increasing, units a second
    weights: np.ndarray  # [3, 5] of SPEEDS in the liveliness, by STAGES; each row adds up to 1
    sigma: np.ndarray  # [G, S, K] body scales or metres; S: earlier, gap, ahead
    multipliers: np.ndarray  # [2, G, 2]

    def __post_init__(self) -> None:
        for name, first in (("earlier", 0), ("gap", 0), ("ahead", 1)):
            steps = getattr(self, name)
            if list(steps) != sorted(set(steps)) or len(steps) < 2 or steps[0] < first:
                raise ValueError(f"{name} must be increasing steps from {first} on, found {list(steps)}")
        levels = np.array(self.liveliness)
        if len(levels) < 2 or not (np.isfinite(levels).all() and levels[0] > 0 and (np.diff(levels) > 0).all()):
            raise ValueError(f"liveliness must be increasing positive speeds, found {list(self.liveliness)}")
        if self.weights.shape != (len(STAGES), len(SPEEDS)):
            raise ValueError(f"weights must be {[len(STAGES), len(SPEEDS)]}, found {list(self.weights.shape)}")
        if not ((self.weights >= 0).all() and (abs(self.weights.sum(axis=1) - 1) < _ROUNDING).all()):
            raise ValueError(f"weights must be shares that add up to 1, found {self.weights.tolist()}")
        rows = len(self.earlier) + len(self.gap) + len(self.ahead)
        for name, shape in (("sigma", (len(GROUPS), rows, len(levels))), ("multipliers", (2, len(GROUPS), 2))):
            values = getattr(self, name)
            if values.shape != shape:
                raise ValueError(f"{name} must be {list(shape)}, found {list(values.shape)}")
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise ValueError(f"{name} must be positive numbers; use an intact file or fit the table again")

    def check_fits(self, config: ModelConfig) -> None:
        """Raise `ValueError` unless the steps are those of a network of these dimensions."""
        n = config.sample_interval
        if (self.earlier[-1], self.gap[-1], self.ahead[-1]) != (n, n, config.horizon):
            raise ValueError(
                f"the table is for gaps of {self.gap[-1]} and a horizon of {self.ahead[-1]} steps, but the network has "
                f"{n} and {config.horizon}; fit the table again"
            )

    def on_grid(
        self,
        keyframes: np.ndarray,  # [..., Q+1, 17, D] normalised
        config: ModelConfig,
        rate_hz: float,
    ) -> np.ndarray:  # [..., T, 17] body scales or metres
        """Sigma on every grid step of the windows. Beyond the liveliest column it grows in proportion."""
        logs = _logs(keyframes, config.sample_interval / rate_hz)
        grid = self._grid(config)
        sigma = grid.sigma(grid.of_logs @ logs)
        # Knowledge only fades, also where the weights of the horizon see less motion than those of now.
        ahead = sigma[..., config.newest + 1 :, :]
        np.maximum.accumulate(ahead, axis=-2, out=ahead)
        return sigma

    def typical(self, config: ModelConfig) -> np.ndarray:  # [T, 17]
        """Sigma where a single keyframe says nothing of speed: that of the table's middle column."""
        middle = np.log(self.liveliness[len(self.liveliness) // 2])
        return self._grid(config).sigma(np.full((config.seq_len, len(CORE_17)), middle))

    def _grid(self, config: ModelConfig) -> _Grid:
        found = self._by_config.get(config)
        if found is None:
            found = self._by_config[config] = self._make_grid(config)
        return found

    def _make_grid(self, config: ModelConfig) -> _Grid:
        stages = stage_of_step(config).reshape(config.step, len(STAGES), -1)
        shares = np.einsum("sf,qst->qft", self.weights, stages)  # [Q, 5, T]
        rows = _rows(config.step)
        of_logs = np.zeros((rows.max() + 1, 3, config.seq_len))
        np.add.at(of_logs, (rows, _OWN_OR_MEAN), shares)
        columns = np.moveaxis(np.log(self._on_steps(config)), -1, 0).take(GROUP_OF_JOINT, axis=1).swapaxes(1, 2)
        nodes = np.log(np.array(self.liveliness))
        # Under the first column sigma stays as it is; beyond the last one it grows in proportion.
        between = np.diff(columns, axis=0) / np.diff(nodes)[:, None, None]
        slopes = np.concatenate([np.zeros_like(columns[:1]), between, np.ones_like(columns[:1])])
        starts = columns[[0, *range(len(nodes))]] - slopes * nodes[[0, *range(len(nodes))], None, None]
        cells = np.arange(columns[0].size).reshape(columns[0].shape)
        return _Grid(of_logs.reshape(-1, config.seq_len).T, nodes, starts, slopes, cells)

    def _on_steps(self, config: ModelConfig) -> np.ndarray:  # [G, T, K]
        """Sigma in every column: on each grid step linearly between the two rows around it."""
        n, newest, first = config.sample_interval, config.newest, len(self.earlier)
        newer = [*self.gap, *(n + step for step in self.ahead)]
        weights = np.zeros((config.seq_len, self.sigma.shape[1]))
        for step in range(config.seq_len):
            if step < newest - n:
                weights[step, :first] = _hats(step % n, self.earlier)
            else:
                weights[step, first:] = _hats(step - newest + n, newer)
        return np.asarray(weights @ self.sigma)

    @cached_property
    def _by_config(self) -> dict[ModelConfig, _Grid]:
        return {}

    def multiplier(self, part: str, share: float) -> np.ndarray:  # [17]
        """What to multiply sigma with, joint by joint, for a bound that holds in `share` (0.5 or 0.9) of the cases."""
        if part not in PARTS or share not in SHARES:
            raise ValueError(f"bounds are known for {PARTS} and {SHARES}, found {part!r} and {share!r}")
        return np.asarray(self.multipliers[PARTS.index(part), GROUP_OF_JOINT, SHARES.index(share)])

    def as_json(self) -> dict[str, Any]:
        """For the metadata of a weight file: a line of text for each row, so that a person can read it."""
        return {
            "version": VERSION,
            "earlier_steps": list(self.earlier),
            "gap_steps": list(self.gap),
            "ahead_steps": list(self.ahead),
            "liveliness": _text(self.liveliness),
            "weights": {
                stage: dict(zip(SPEEDS, (round(float(share), 3) for share in shares), strict=True))
                for stage, shares in zip(STAGES, self.weights, strict=True)
            },
            "sigma": {name: [_text(row) for row in rows] for name, rows in zip(GROUPS, self.sigma, strict=True)},
            "multipliers": {
                part: {name: _text(pair) for name, pair in zip(GROUPS, pairs, strict=True)}
                for part, pairs in zip(PARTS, self.multipliers, strict=True)
            },
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> SigmaTable:
        """Read what `as_json` wrote. `ValueError` says what is wrong."""
        if fields.get("version") != VERSION:
            raise ValueError(
                f"version {fields.get('version')!r} is not the version {VERSION} that this release reads; fit the "
                "table again with scripts/fit_uncertainty.py"
            )
        try:
            earlier, gap, ahead = (tuple(map(int, fields[f"{name}_steps"])) for name in ("earlier", "gap", "ahead"))
            sigma = np.array([[_numbers(row) for row in fields["sigma"][name]] for name in GROUPS])
            multipliers = np.array([[_numbers(fields["multipliers"][p][name]) for name in GROUPS] for p in PARTS])
            weights = np.array([[float(fields["weights"][stage][name]) for name in SPEEDS] for stage in STAGES])
            return cls(earlier, gap, ahead, tuple(_numbers(fields["liveliness"])), weights, sigma, multipliers)
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"a field has the wrong type ({error})") from None


def _hats(step: int, knots: Sequence[int]) -> list[float]:
    """The part of each knot in linear interpolation at `step`."""
    return [float(np.interp(step, knots, row)) for row in np.eye(len(knots))]


def _text(numbers: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{number:.3g}" for number in numbers)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]

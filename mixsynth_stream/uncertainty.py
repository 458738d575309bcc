"""Uncertainty: how far off a pose may be that nobody measured. It is a table in the weight file, outside the network.

An error is the distance between a pose and the estimate of the same frame without its quick jitter, in body scales
(images) or metres. Errors grow towards the middle of a gap and with the horizon, and most of all with the liveliness of
the motion: a weighted mean of `SPEEDS`, computed from the keyframes. Rows: joint group and step; columns: liveliness.
numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.skeleton import CORE_17, body_part

VERSION = 2
PARTS = ("filled", "forecast")
SHARES = (0.5, 0.9)

# The parts of a joint's liveliness in an interval, in units a second. Speed alone takes a slow moment of a dance for
# physiotherapy.
SPEEDS = (
    "speed",  # of the joint
    "change",  # of its velocity since the interval before
    "jerk",  # mean change of that change over the whole window, which no curve through the keyframes foresees
    "body_change",  # `change` of the whole body
    "feet_jerk",  # `jerk` of the feet
)
# Each stage weighs them in its own way. Ahead of the newest keyframe the weights go from `newest` to `horizon`.
STAGES = ("gap", "newest", "horizon")
# Slower motion (units a second) cannot be told from the estimator's jitter.
_STILL = 0.02
# Numbers in the file have three digits.
_ROUNDING = 0.01

_JOINTS = len(CORE_17)
# Left and right share a row: nose, shoulder, elbow, wrist, index, hip, knee, ankle, foot_index.
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(body_part(name) for name in CORE_17.joints))
GROUP_OF_JOINT = np.array([GROUPS.index(body_part(name)) for name in CORE_17.joints])  # [17]
_FEET = np.array([float(body_part(name) in ("ankle", "foot_index")) for name in CORE_17.joints])
_BODY_MEAN = np.full((_JOINTS, _JOINTS), 1 / _JOINTS)
_FEET_MEAN = np.repeat(_FEET[:, None] / _FEET.sum(), _JOINTS, axis=1)
# A product with it gives each joint's own number, the mean over the whole body and the mean over the feet.
_WITH_MEANS = np.concatenate([np.eye(_JOINTS), _BODY_MEAN, _FEET_MEAN], axis=1)  # [17, 3 * 17]
# Which of the three each of `SPEEDS` takes.
_OWN_OR_MEAN = np.array([0, 0, 0, 1, 2])


def log_speeds(
    keyframes: np.ndarray,  # [..., Q+1, 17, D] normalised: body scales or metres
    period_s: float,
) -> np.ndarray:  # [..., Q, 17, 5]
    """The logarithms of `SPEEDS` for each joint and interval."""
    logs = _logs(keyframes, period_s)
    logs = logs.reshape(*logs.shape[:-2], -1, 3, _JOINTS)
    rows, joints = _log_rows(keyframes.shape[-3] - 1), np.arange(_JOINTS)
    return np.asarray(logs[..., rows[:, None], _OWN_OR_MEAN, joints[:, None]])


def _logs(
    keyframes: np.ndarray,  # [..., Q+1, 17, D]
    period_s: float,
) -> np.ndarray:  # [..., R * 3, 17]
    """The numbers of `log_speeds`, each once. The R rows: a speed an interval, a change between two, and the jerk.

    A few products replace many small steps, because a stream computes one window at a time.
    """
    differences, row_means = _differences(keyframes.shape[-3] - 1, period_s)
    vectors = differences @ keyframes.reshape(*keyframes.shape[:-2], -1)
    squares = (vectors * vectors).reshape(*vectors.shape[:-1], *keyframes.shape[-2:])
    speeds = row_means @ np.sqrt(np.add.reduce(squares, axis=-1)) @ _WITH_MEANS  # [..., R, 3 * 17]
    return np.log(speeds + _STILL).reshape(*speeds.shape[:-2], -1, _JOINTS)


@lru_cache(maxsize=16)
def _differences(intervals: int, period_s: float) -> tuple[np.ndarray, np.ndarray]:  # [V, Q+1], [R, V]
    """Two factors: keyframes to velocities, their changes and the jerks; and lengths of these to rows.

    A velocity and a change each have a row of their own. The lengths of all jerks share one, which is their mean.
    """
    velocity = np.diff(np.eye(intervals + 1), axis=0) / period_s
    # Two keyframes have one velocity only, three one change of it.
    changes = np.diff(velocity, axis=0) if intervals > 1 else velocity
    jerks = np.diff(changes, axis=0) if len(changes) > 1 else changes
    own_rows = len(velocity) + len(changes)
    row_means = np.zeros((own_rows + 1, own_rows + len(jerks)))
    row_means[:own_rows, :own_rows] = np.eye(own_rows)
    row_means[-1, own_rows:] = 1 / len(jerks)
    return np.concatenate([velocity, changes, jerks]), row_means


def _log_rows(intervals: int) -> np.ndarray:  # [Q, 5]
    """For each interval, the row of `_logs` that holds each of `SPEEDS`."""
    interval, jerk = np.arange(intervals), np.full(intervals, intervals + max(intervals - 1, 1))
    # The first interval takes the change at its end.
    change = intervals + np.maximum(interval - 1, 0)
    return np.stack([interval, change, jerk, change, jerk], axis=-1)


def liveliness_on_grid(
    log_speeds: np.ndarray,  # [..., Q, 17, 5]
    weights: np.ndarray,  # [3, 5] of STAGES
    config: ModelConfig,
) -> np.ndarray:  # [..., 17, T]
    """The logarithm of the liveliness at each grid step: the one of the step's interval and stage."""
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
    # K+1 pieces, one up to each column and one past the last: log sigma = start + slope * log liveliness.
    nodes: np.ndarray  # [K] log liveliness of the columns
    starts: np.ndarray  # [K+1, T, 17]
    slopes: np.ndarray  # [K+1, T, 17]
    cells: np.ndarray  # [T, 17] index of each cell within one piece

    def sigma(self, level: np.ndarray) -> np.ndarray:  # [..., T, 17] log liveliness -> [..., T, 17]
        """Sigma at this liveliness. Its logarithm is linear between two columns."""
        index = self.nodes.searchsorted(level) * self.cells.size + self.cells
        log_sigma = self.slopes.take(index) * level
        log_sigma += self.starts.take(index)
        return np.exp(log_sigma, out=log_sigma)


@dataclass(frozen=True, eq=False)
class SigmaTable:
    """Sigma by joint group, step and liveliness, and the multipliers that turn it into bounds.

    Steps count from the older keyframe of a gap (`earlier`, `gap`) or from the newest keyframe (`ahead`). `gap` is the
    newest gap and `earlier` all others. In `SHARES[share]` of the cases an error is at most
    `multipliers[part, group, share] * sigma`.
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
        # Sigma never shrinks with the horizon, not even where `horizon` weighs the motion less than `newest`.
        ahead = sigma[..., config.newest + 1 :, :]
        np.maximum.accumulate(ahead, axis=-2, out=ahead)
        return sigma

    def typical(self, config: ModelConfig) -> np.ndarray:  # [T, 17]
        """Sigma after a single keyframe, which says nothing of speed: the one of the table's middle column."""
        middle = np.log(self.liveliness[len(self.liveliness) // 2])
        return self._grid(config).sigma(np.full((config.seq_len, _JOINTS), middle))

    def _grid(self, config: ModelConfig) -> _Grid:
        grid = self._grids.get(config)
        if grid is None:
            grid = self._grids[config] = self._make_grid(config)
        return grid

    def _make_grid(self, config: ModelConfig) -> _Grid:
        stages = stage_of_step(config).reshape(config.step, len(STAGES), -1)
        shares = np.einsum("sf,qst->qft", self.weights, stages)  # [Q, 5, T]
        rows = _log_rows(config.step)
        of_logs = np.zeros((rows.max() + 1, 3, config.seq_len))
        np.add.at(of_logs, (rows, _OWN_OR_MEAN), shares)
        columns = np.moveaxis(np.log(self._on_steps(config)), -1, 0).take(GROUP_OF_JOINT, axis=1).swapaxes(1, 2)
        nodes = np.log(np.array(self.liveliness))
        # Below the first column sigma is constant; beyond the last one it grows in proportion.
        between = np.diff(columns, axis=0) / np.diff(nodes)[:, None, None]
        slopes = np.concatenate([np.zeros_like(columns[:1]), between, np.ones_like(columns[:1])])
        starts = columns[[0, *range(len(nodes))]] - slopes * nodes[[0, *range(len(nodes))], None, None]
        cells = np.arange(columns[0].size).reshape(columns[0].shape)
        return _Grid(of_logs.reshape(-1, config.seq_len).T, nodes, starts, slopes, cells)

    def _on_steps(self, config: ModelConfig) -> np.ndarray:  # [G, T, K]
        """Sigma in every column, on each grid step interpolated linearly between the two rows around it."""
        n, newest, first = config.sample_interval, config.newest, len(self.earlier)
        newer = [*self.gap, *(n + step for step in self.ahead)]
        weights = np.zeros((config.seq_len, self.sigma.shape[1]))
        for step in range(config.seq_len):
            if step < newest - n:
                weights[step, :first] = _knot_weights(step % n, self.earlier)
            else:
                weights[step, first:] = _knot_weights(step - newest + n, newer)
        return np.asarray(weights @ self.sigma)

    @cached_property
    def _grids(self) -> dict[ModelConfig, _Grid]:
        return {}

    def multiplier(self, part: str, share: float) -> np.ndarray:  # [17]
        """The factor on sigma, joint by joint, that gives a bound for `share` (0.5 or 0.9) of the errors."""
        if part not in PARTS or share not in SHARES:
            raise ValueError(f"bounds are known for {PARTS} and {SHARES}, found {part!r} and {share!r}")
        return np.asarray(self.multipliers[PARTS.index(part), GROUP_OF_JOINT, SHARES.index(share)])

    def as_json(self) -> dict[str, Any]:
        """The table for the metadata of a weight file, one line of text a row, so that a person can read it."""
        return {
            "version": VERSION,
            "earlier_steps": list(self.earlier),
            "gap_steps": list(self.gap),
            "ahead_steps": list(self.ahead),
            "liveliness": _row_text(self.liveliness),
            "weights": {
                stage: dict(zip(SPEEDS, (round(float(share), 3) for share in shares), strict=True))
                for stage, shares in zip(STAGES, self.weights, strict=True)
            },
            "sigma": {name: [_row_text(row) for row in rows] for name, rows in zip(GROUPS, self.sigma, strict=True)},
            "multipliers": {
                part: {name: _row_text(pair) for name, pair in zip(GROUPS, pairs, strict=True)}
                for part, pairs in zip(PARTS, self.multipliers, strict=True)
            },
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> SigmaTable:
        """The table from the fields that `as_json` returned. `ValueError` says what is wrong."""
        if fields.get("version") != VERSION:
            raise ValueError(
                f"version {fields.get('version')!r} is not the version {VERSION} that this release reads; fit the "
                "table again with scripts/fit_uncertainty.py"
            )
        try:
            earlier, gap, ahead = (tuple(map(int, fields[f"{name}_steps"])) for name in ("earlier", "gap", "ahead"))
            sigma = np.array([[_row_numbers(row) for row in fields["sigma"][name]] for name in GROUPS])
            multipliers = np.array([[_row_numbers(fields["multipliers"][p][name]) for name in GROUPS] for p in PARTS])
            weights = np.array([[float(fields["weights"][stage][name]) for name in SPEEDS] for stage in STAGES])
            return cls(earlier, gap, ahead, tuple(_row_numbers(fields["liveliness"])), weights, sigma, multipliers)
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"a field has the wrong type ({error})") from None


def _knot_weights(step: int, knots: Sequence[int]) -> list[float]:
    """The weight of each knot in linear interpolation at `step`."""
    return [float(np.interp(step, knots, row)) for row in np.eye(len(knots))]


def _row_text(numbers: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{number:.3g}" for number in numbers)


def _row_numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]

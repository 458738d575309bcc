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
from typing import Any

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
# A product with these is the mean over the whole body, and over the feet.
_OF_BODY = np.full(len(CORE_17), 1 / len(CORE_17))
_OF_FEET = np.array([float(_group(name) in ("ankle", "foot_index")) for name in CORE_17.joints])
_OF_FEET /= _OF_FEET.sum()


def log_speeds(
    keyframes: np.ndarray,  # [..., Q+1, 17, D] normalised: body scales or metres
    period_s: float,
) -> np.ndarray:  # [..., Q, 17, 5]
    """The logarithms of `SPEEDS` for each joint and interval."""
    velocity = _steps(keyframes) / period_s
    # Two keyframes have one velocity only, three one change of it.
    changes = _steps(velocity) if velocity.shape[-3] > 1 else velocity
    jerks = _steps(changes) if changes.shape[-3] > 1 else changes
    change, jerk = _norm(changes), _norm(jerks).mean(axis=-2)
    speeds = np.empty((*velocity.shape[:-1], len(SPEEDS)))
    speeds[..., 0] = _norm(velocity)
    speeds[..., 1:, :, 1] = change[..., : velocity.shape[-3] - 1, :]
    speeds[..., 0, :, 1] = change[..., 0, :]
    speeds[..., 2] = jerk[..., None, :]
    speeds[..., 3] = (speeds[..., 1] @ _OF_BODY)[..., None]
    speeds[..., 4] = (jerk @ _OF_FEET)[..., None, None]
    return np.asarray(np.log(speeds + _STILL))


def _steps(values: np.ndarray) -> np.ndarray:  # [..., M, 17, D] -> [..., M - 1, 17, D]
    return np.asarray(values[..., 1:, :, :] - values[..., :-1, :, :])


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.einsum("...d,...d->...", vectors, vectors)))


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
        speeds = log_speeds(keyframes, config.sample_interval / rate_hz)
        sigma = self._at(liveliness_on_grid(speeds, self.weights, config), config)
        # Knowledge only fades, also where the weights of the horizon see less motion than those of now.
        ahead = sigma[..., config.newest + 1 :]
        np.maximum.accumulate(ahead, axis=-1, out=ahead)
        return np.swapaxes(sigma, -2, -1)

    def typical(self, config: ModelConfig) -> np.ndarray:  # [T, 17]
        """Sigma where a single keyframe says nothing of speed: that of the table's middle column."""
        middle = np.log(self.liveliness[len(self.liveliness) // 2])
        return self._at(np.full((len(CORE_17), config.seq_len), middle), config).T

    def _at(self, level: np.ndarray, config: ModelConfig) -> np.ndarray:  # [..., 17, T] -> [..., 17, T]
        """The table at this log liveliness: linear between columns, in logarithms."""
        first, slopes = self._segments(config)
        columns = (-1, *[1] * level.ndim)
        passed = level - self._log_nodes.reshape(columns)  # [K, ..., 17, T]
        np.minimum(np.maximum(passed, 0, out=passed), self._widths.reshape(columns), out=passed)
        return np.asarray(np.exp(first + np.einsum("k...jt,kjt->...jt", passed, slopes)))

    def _segments(self, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:  # [17, T], [K, 17, T]
        """Log sigma in the first column, and its slope from each column to the next; the last one is 1."""
        if config not in self._by_config:
            log_sigma = np.moveaxis(np.log(self._on_steps(config))[GROUP_OF_JOINT], -1, 0)  # [K, 17, T]
            slopes = np.diff(log_sigma, axis=0) / self._widths[:-1, None, None]
            slopes = np.append(slopes, np.ones_like(slopes[:1]), axis=0)
            self._by_config[config] = np.ascontiguousarray(log_sigma[0]), slopes
        return self._by_config[config]

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
    def _by_config(self) -> dict[ModelConfig, tuple[np.ndarray, np.ndarray]]:
        return {}

    @cached_property
    def _log_nodes(self) -> np.ndarray:  # [K]
        return np.log(np.array(self.liveliness))

    @cached_property
    def _widths(self) -> np.ndarray:  # [K]; the last one has no end
        return np.append(np.diff(self._log_nodes), np.inf)

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

"""Uncertainty: how far off a pose that nobody measured may be. A table in the weight file, outside the network.

The error is the distance between a pose and what the estimator itself would have said, its quick jitter aside, in body
scales (images) or metres. It grows towards the middle of a gap and with the horizon, and above all with how lively the
motion is, which the keyframes tell: `log_liveliness`. Rows: joint group and step; columns: liveliness. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.skeleton import CORE_17

VERSION = 1
PARTS = ("filled", "forecast")
SHARES = (0.5, 0.9)

# Shares in the liveliness of a joint: its own speed, its own jerkiness, the whole body's and the feet's. Speed alone
# takes a slow moment of a dance for physiotherapy: half as many errors stay below the median of the table.
_SPEED, _OWN_JERK, _BODY_JERK, _FEET_JERK = 0.3, 0.3, 0.2, 0.2
# Below this (units a second) the estimator's jitter is all that there is to see.
_STILL = 0.02


def _group(joint: str) -> str:
    side, _, part = joint.partition("_")
    return part if side in ("left", "right") else joint


# Left and right share a row: nose, shoulder, elbow, wrist, index, hip, knee, ankle, foot_index.
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(_group(name) for name in CORE_17.joints))
GROUP_OF_JOINT = np.array([GROUPS.index(_group(name)) for name in CORE_17.joints])  # [17]
_FEET = [j for j, name in enumerate(CORE_17.joints) if _group(name) in ("ankle", "foot_index")]


def log_liveliness(
    keyframes: np.ndarray,  # [..., Q+1, 17, D] normalised: body scales or metres
    period_s: float,
) -> np.ndarray:  # [..., Q, 17]
    """How fast and how jerkily each joint moves over each interval, as the logarithm of a speed (units a second).

    Jerkiness is the change of the change of the speed from interval to interval, meaned over the window: what a curve
    through the keyframes cannot foresee.
    """
    velocity = np.diff(keyframes, axis=-3) / period_s
    # Two keyframes have one velocity only, three one change of it.
    changes = np.diff(velocity, n=min(2, velocity.shape[-3] - 1), axis=-3)
    jerk = np.linalg.norm(changes, axis=-1).mean(axis=-2)  # [..., 17]
    body, feet = jerk.mean(axis=-1, keepdims=True), jerk[..., _FEET].mean(axis=-1, keepdims=True)
    speed = np.linalg.norm(velocity, axis=-1)
    whole = _OWN_JERK * _log(jerk) + _BODY_JERK * _log(body) + _FEET_JERK * _log(feet)
    return np.asarray(_SPEED * _log(speed) + whole[..., None, :])


def _log(speed: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(speed + _STILL))


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
        level = log_liveliness(keyframes, config.sample_interval / rate_hz)  # [..., Q, 17]
        nodes, table = self._log_nodes, self._log_table
        left = np.clip(np.searchsorted(nodes, level, side="right") - 1, 0, len(nodes) - 2)
        inside = np.clip(level, nodes[0], nodes[-1])
        part = ((inside - nodes[left]) / (nodes[left + 1] - nodes[left]))[..., None]
        joint = np.arange(len(CORE_17))
        below = table[joint, left]  # [..., Q, 17, S]
        rows = np.exp(below + (table[joint, left + 1] - below) * part + np.maximum(level - nodes[-1], 0)[..., None])
        return self._on_steps(rows, config)

    def typical(self, config: ModelConfig) -> np.ndarray:  # [T, 17]
        """Sigma where a single keyframe says nothing of speed: that of the table's middle column."""
        rows = np.exp(self._log_table[:, len(self.liveliness) // 2])  # [17, S]
        return self._on_steps(np.broadcast_to(rows, (config.step, *rows.shape)), config)

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
            raise ValueError(f"version {fields.get('version')!r} is not the version {VERSION} that this release reads")
        try:
            earlier, gap, ahead = (tuple(map(int, fields[f"{name}_steps"])) for name in ("earlier", "gap", "ahead"))
            sigma = np.array([[_numbers(row) for row in fields["sigma"][name]] for name in GROUPS])
            multipliers = np.array([[_numbers(fields["multipliers"][p][name]) for name in GROUPS] for p in PARTS])
            return cls(earlier, gap, ahead, tuple(_numbers(fields["liveliness"])), sigma, multipliers)
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"a field has the wrong type ({error})") from None

    @cached_property
    def _log_nodes(self) -> np.ndarray:  # [K]
        return np.log(np.array(self.liveliness))

    @cached_property
    def _log_table(self) -> np.ndarray:  # [17, K, S]
        return np.ascontiguousarray(np.log(self.sigma)[GROUP_OF_JOINT].transpose(0, 2, 1))

    def _on_steps(self, rows: np.ndarray, config: ModelConfig) -> np.ndarray:  # [..., Q, 17, S] -> [..., T, 17]
        weights = _step_weights(self.earlier, self.gap, self.ahead, config)
        flat = np.swapaxes(rows, -3, -2).reshape(*rows.shape[:-3], len(CORE_17), -1)  # [..., 17, Q * S]
        return np.asarray(np.swapaxes(flat @ weights, -2, -1))


@lru_cache(maxsize=16)
def _step_weights(
    earlier: Sequence[int], gap: Sequence[int], ahead: Sequence[int], config: ModelConfig
) -> np.ndarray:  # [Q * S, T]
    """Every grid step takes its interval's liveliness, and its sigma linearly between the two rows around it."""
    n, rows = config.sample_interval, len(earlier) + len(gap) + len(ahead)
    weights = np.zeros((config.step, rows, config.seq_len))
    for step in range(config.seq_len):
        interval = min(step // n, config.step - 1)
        first, knots = 0, list(earlier)
        if interval == config.step - 1:
            first, knots = len(earlier), [*gap, *(n + a for a in ahead)]
        for k in range(len(knots)):
            weights[interval, first + k, step] = np.interp(step - interval * n, knots, np.eye(len(knots))[k])
    weights.setflags(write=False)
    return weights.reshape(config.step * rows, config.seq_len)


def _text(numbers: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{number:.3g}" for number in numbers)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]

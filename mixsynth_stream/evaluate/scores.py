"""Scores: errors of every method on the same poses, with their means, intervals and ratios."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mixsynth_stream.evaluate.baselines import FILLERS, FORECASTERS

NETWORK, RIDGE = "network", "ridge"
# The estimator on every frame, raw and through the One-Euro filter: a reference and no simple method, because it sees
# more than the others.
DENSE = ("dense", "dense_one_euro")
HORIZONS_MS = (80, 100, 160, 200, 300, 320, 400, 500, 600)
QUESTIONS = {
    "filled": "the frames between the two newest keyframes, as soon as the newest is there",
    "filled_later": "the frames one interval before those",
    "now": "the frames since the newest keyframe and before the next one",
    "ahead": "the pose at the horizon, counted from the newest keyframe",
    "ahead_mean": "the mean over all steps past the newest keyframe up to the horizon",
    "filled_cold": "filled, while the window is not full yet; no other question counts such windows",
    "now_cold": "now, while the window is not full yet",
}
UNITS = {"image": "torso", "world": "mm"}
PCK_THRESHOLDS = (0.2, 0.1, 0.05)
# Fewer clips than this say nothing about other clips, so that there is no interval.
_LEAST_GROUPS = 5
_DRAWS = 1000
_PERCENTILES = (2.5, 97.5)
# The divisor of a ratio is at least this, because a method may be without any error.
_LEAST_DIVISOR = 1e-12


@dataclass(frozen=True, kw_only=True)
class Case:
    """The subject of one line of a table."""

    data: str
    model: str
    question: str
    target: str  # clean, carried, or dense
    horizon_ms: int | None
    metric: str
    unit: str
    group: str | None = None  # of joints; None: all
    band: str | None = None  # of the joints' true speed in torso lengths a second; None: all


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result. `interval` is the 95 % bootstrap interval over clips, None where there are too few of them.

    Where a group or a band is set, `poses` counts joints.
    """

    data: str
    model: str
    question: str
    target: str
    method: str
    horizon_ms: int | None
    metric: str
    unit: str
    value: float
    interval: tuple[float, float] | None
    poses: int
    clips: int
    over: str | None = None  # of a ratio: the method whose error is the divisor
    group: str | None = None
    band: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The price of poses: calls of the estimator a second, with a network and without, and the lag of filled poses.

    Without a network the estimator looks at every frame; over several clips that is the mean of their rates.
    """

    calls_hz: float
    dense_calls_hz: float
    filled_lag_s: float


@dataclass(frozen=True)
class Evaluation:
    """The rows of one table, and its title."""

    title: str
    rows: list[Row]
    detail: list[Row] = field(default_factory=list)  # by joint group and by speed band
    cost: Cost | None = None  # of videos


def simple_methods(question: str) -> tuple[str, ...]:
    """The simple methods of a question. Ratios divide the network's error by that of the best of them."""
    return FILLERS if question.startswith("filled") else FORECASTERS


def methods_of(question: str) -> tuple[str, ...]:
    """All methods that answer a question, the network last."""
    simple = (*FILLERS, "kalman") if question.startswith("filled") else FORECASTERS
    return (*simple, RIDGE, *(() if question.startswith("ahead") else DENSE), NETWORK)


@dataclass
class Scores:
    """Sums of errors by clip, of which `rows` makes means. All methods of a case must be judged on the same poses."""

    _sums: dict[Case, dict[str, np.ndarray]] = field(default_factory=dict)  # by method, [clips]
    _counts: dict[Case, np.ndarray] = field(default_factory=dict)  # [clips]

    def add(
        self,
        case: Case,
        errors: dict[str, np.ndarray],  # by method, [...]; NaN where the truth is not known
        groups: np.ndarray,  # [...] number of the clip, from 0
    ) -> None:
        """Add poses to a case. `ValueError` where a method has no answer for a pose that another one has."""
        known = ~np.isnan(errors[NETWORK])
        for method, values in errors.items():
            if values.shape != known.shape or (np.isnan(values) == known).any():
                raise ValueError(f"{method} and {NETWORK} were not judged on the same poses of {case.question!r}")
        if not known.any():
            return
        clip = np.broadcast_to(groups, known.shape)[known]
        sums = self._sums.setdefault(case, {method: np.zeros(0) for method in errors})
        for method, values in errors.items():
            sums[method] = _padded_sum(sums[method], np.bincount(clip, values[known]))
        self._counts[case] = _padded_sum(self._counts.get(case, np.zeros(0)), np.bincount(clip))

    def include(self, other: Scores, data: str) -> None:
        """Add the sums of other scores, as cases of `data`."""
        for other_case, more in other._sums.items():
            case = replace(other_case, data=data)
            sums = self._sums.setdefault(case, {method: np.zeros(0) for method in more})
            for method, total in more.items():
                sums[method] = _padded_sum(sums[method], total)
            self._counts[case] = _padded_sum(self._counts.get(case, np.zeros(0)), other._counts[other_case])

    def rows(self, seed: int = 0, equal_groups: bool = False) -> list[Row]:
        """A row for each case and method, and the ratios: the network over the best simple method, and over others.

        Values are means over poses, or, with `equal_groups`, means over the means of the groups.
        """
        return [row for case in self._sums for row in self._case_rows(case, seed, equal_groups)]

    def _case_rows(self, case: Case, seed: int, equal_groups: bool) -> list[Row]:
        has_poses = self._counts[case] > 0
        counts = self._counts[case][has_poses]
        sums = {method: total[has_poses] for method, total in self._sums[case].items()}
        poses = int(counts.sum())
        if equal_groups:
            sums = {method: total / counts for method, total in sums.items()}
            counts = np.ones_like(counts)
        draws = _draws(len(counts), seed) if len(counts) >= _LEAST_GROUPS else None

        def row(method: str, about: Case, total: np.ndarray, divisor: np.ndarray, over: str | None) -> Row:
            value, interval = float(total.sum() / max(divisor.sum(), _LEAST_DIVISOR)), None
            if draws is not None:
                values = (draws @ total) / np.maximum(draws @ divisor, _LEAST_DIVISOR)
                low, high = np.percentile(values, _PERCENTILES)
                interval = (float(low), float(high))
            sizes: dict[str, Any] = {"poses": poses, "clips": len(counts)}
            return Row(**vars(about), **sizes, method=method, value=value, interval=interval, over=over)

        rows = [row(method, case, total, counts, None) for method, total in sums.items()]
        for name, other in _ratio_methods(case, sums):
            ratio = replace(case, metric=f"{case.metric}_{name}", unit="1")
            rows.append(row(NETWORK, ratio, sums[NETWORK], sums[other], other))
        return rows


@lru_cache(maxsize=16)
def _draws(clips: int, seed: int) -> np.ndarray:  # [_DRAWS, clips]
    """How often each draw has each clip. Cases with the same number of clips share the draws."""
    counts = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), _DRAWS)
    return counts.astype(np.float64)


def _padded_sum(total: np.ndarray, more: np.ndarray) -> np.ndarray:  # [A], [B] -> [max(A, B)]
    result = np.zeros(max(len(total), len(more)))
    result[: len(total)] += total
    result[: len(more)] += more
    return result


def _ratio_methods(case: Case, sums: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """(name of the ratio, method that the network's error is divided by)."""
    # PCK is the only metric where more is better. It has no ratio, because nobody reads one.
    if case.metric.startswith("pck"):
        return []
    ratios = []
    simple = [method for method in simple_methods(case.question) if method in sums]
    if simple:
        ratios.append(("ratio", min(simple, key=lambda method: sums[method].sum())))
    if RIDGE in sums:
        ratios.append(("ratio_ridge", RIDGE))
    if case.metric == "accel_error" and "linear" in sums:
        ratios.append(("ratio_linear", "linear"))
    return ratios

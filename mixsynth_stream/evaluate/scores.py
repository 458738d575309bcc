"""Scores of `evaluate`: errors of every method on the same poses, their means, intervals, and the ratios that count."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from mixsynth_stream.evaluate.baselines import FILLERS, FORECASTERS

NETWORK, RIDGE = "network", "ridge"
# Looks at every frame, raw and through the One-Euro filter: what the others are spared, and no simple method.
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
# Fewer clips than this say nothing about other clips: no interval.
_LEAST_GROUPS = 5
_DRAWS = 1000
_COVERAGE = (2.5, 97.5)
# A method without any error is divided by as if it had this.
_NOTHING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one line of the table is about."""

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

    `poses` counts joints where a group or a band is asked.
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
    over: str | None = None  # of a ratio: the method divided by
    group: str | None = None
    band: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What poses cost: calls of the estimator a second, with a network and without; and how late a gap is filled.

    Without a network it looks at every frame: of several clips the mean of their rates.
    """

    calls_hz: float
    dense_calls_hz: float
    filled_lag_s: float


@dataclass(frozen=True)
class Evaluation:
    """The rows of one table, and what to write above it."""

    title: str
    rows: list[Row]
    detail: list[Row] = field(default_factory=list)  # by joint group and by speed band
    cost: Cost | None = None  # of videos


def simple_methods(question: str) -> tuple[str, ...]:
    """Those that the network's error is divided by the best of."""
    return FILLERS if question.startswith("filled") else FORECASTERS


def methods_of(question: str) -> tuple[str, ...]:
    """All methods that answer a question, the network last."""
    simple = (*FILLERS, "kalman") if question.startswith("filled") else FORECASTERS
    return (*simple, RIDGE, *(() if question.startswith("ahead") else DENSE), NETWORK)


@dataclass
class Scores:
    """Sums up errors by clip; `rows` averages them. Every method of a case must be judged on the same poses."""

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
            sums[method] = _added(sums[method], np.bincount(clip, values[known]))
        self._counts[case] = _added(self._counts.get(case, np.zeros(0)), np.bincount(clip))

    def include(self, other: Scores, data: str) -> None:
        """Add what other scores collected, as cases of `data`."""
        for case, more in other._sums.items():
            case_here = replace(case, data=data)
            sums = self._sums.setdefault(case_here, {method: np.zeros(0) for method in more})
            for method, total in more.items():
                sums[method] = _added(sums[method], total)
            self._counts[case_here] = _added(self._counts.get(case_here, np.zeros(0)), other._counts[case])

    def rows(self, seed: int = 0, equal_groups: bool = False) -> list[Row]:
        """A row for each case and method, and the ratios: the network over the best simple method, and over others.

        Values are means over poses, or, with `equal_groups`, means over the means of the groups.
        """
        return [row for case in self._sums for row in self._case_rows(case, seed, equal_groups)]

    def _case_rows(self, case: Case, seed: int, equal_groups: bool) -> list[Row]:
        seen = self._counts[case] > 0
        counts = self._counts[case][seen]
        sums = {method: total[seen] for method, total in self._sums[case].items()}
        poses = int(counts.sum())
        if equal_groups:
            sums = {method: total / counts for method, total in sums.items()}
            counts = np.ones_like(counts)
        draws = _draws(len(counts), seed) if len(counts) >= _LEAST_GROUPS else None

        def row(method: str, metric: str, unit: str, above: np.ndarray, below: np.ndarray, over: str | None) -> Row:
            interval = None
            if draws is not None:
                low, high = np.percentile((draws @ above) / np.maximum(draws @ below, _NOTHING), _COVERAGE)
                interval = (float(low), float(high))
            return Row(
                data=case.data, model=case.model, question=case.question, target=case.target,
                horizon_ms=case.horizon_ms, method=method, metric=metric, unit=unit,
                value=float(above.sum() / max(below.sum(), _NOTHING)), interval=interval,
                poses=poses, clips=len(counts), over=over, group=case.group, band=case.band,
            )  # fmt: skip

        rows = [row(method, case.metric, case.unit, total, counts, None) for method, total in sums.items()]
        for name, other in _divided_by(case, sums):
            rows.append(row(NETWORK, f"{case.metric}_{name}", "1", sums[NETWORK], sums[other], other))
        return rows


@lru_cache(maxsize=16)
def _draws(clips: int, seed: int) -> np.ndarray:  # [_DRAWS, clips]
    """How often each clip is drawn: cases of as many clips share the draws."""
    drawn = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), _DRAWS)
    return drawn.astype(np.float64)


def _added(total: np.ndarray, more: np.ndarray) -> np.ndarray:  # [A], [B] -> [max(A, B)]
    result = np.zeros(max(len(total), len(more)))
    result[: len(total)] += total
    result[: len(more)] += more
    return result


def _divided_by(case: Case, sums: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """(name of the ratio, method that the network's error is divided by)."""
    # More is better for pck only, and its ratio is nothing that anybody reads.
    if case.metric.startswith("pck"):
        return []
    found = []
    simple = [method for method in simple_methods(case.question) if method in sums]
    if simple:
        found.append(("ratio", min(simple, key=lambda method: sums[method].sum())))
    if RIDGE in sums:
        found.append(("ratio_ridge", RIDGE))
    if case.metric == "accel_error" and "linear" in sums:
        found.append(("ratio_linear", "linear"))
    return found

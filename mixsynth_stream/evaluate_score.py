"""Scores of `evaluate`: errors of every method on the same poses, their means, intervals, and the ratio that counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NETWORK = "network"
HORIZONS_MS = (100, 200, 300, 400, 500, 600)
QUESTIONS = {
    "filled": "the frames between the two newest keyframes, as soon as the newest is there",
    "filled_later": "the frames one interval before those",
    "now": "the frames since the newest keyframe and before the next one",
    "ahead": "the pose at the horizon, counted from the newest keyframe",
    "filled_cold": "filled, while the window is not full yet (videos only)",
    "now_cold": "now, while the window is not full yet (videos only)",
}
UNITS = {"image": "torso", "world": "mm"}
PCK_THRESHOLD = 0.1
# Fewer clips than this say nothing about other clips: no interval.
_LEAST_GROUPS = 5
_DRAWS = 1000
_COVERAGE = (2.5, 97.5)


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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result. `interval` is the 95 % bootstrap interval over clips, None where there are too few of them."""

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


@dataclass(frozen=True)
class Evaluation:
    """The rows of one table, and what to write above it."""

    title: str
    rows: list[Row]


@dataclass
class Scores:
    """Collects errors a pose; `rows` averages them. Every method of a case must be judged on the same poses."""

    _errors: dict[Case, dict[str, list[np.ndarray]]] = field(default_factory=dict)
    _groups: dict[Case, list[np.ndarray]] = field(default_factory=dict)

    def add(
        self,
        case: Case,
        errors: dict[str, np.ndarray],  # by method, [...]; NaN where the truth is not known
        groups: np.ndarray,  # [...] number of the clip
    ) -> None:
        """Add poses to a case. `ValueError` where a method has no answer for a pose that another one has."""
        known = ~np.isnan(errors[NETWORK])
        for method, values in errors.items():
            if values.shape != known.shape or (np.isnan(values) == known).any():
                raise ValueError(f"{method} and {NETWORK} were not judged on the same poses of {case.question!r}")
        if not known.any():
            return
        parts = self._errors.setdefault(case, {method: [] for method in errors})
        for method, values in errors.items():
            parts[method].append(values[known])
        self._groups.setdefault(case, []).append(np.broadcast_to(groups, known.shape)[known])

    def rows(self, seed: int = 0, equal_groups: bool = False) -> list[Row]:
        """A row for each case and method, and one for the ratio of the network to the best other method.

        Values are means over poses, or, with `equal_groups`, means over the means of the groups.
        """
        return [row for case in self._errors for row in self._case_rows(case, seed, equal_groups)]

    def _case_rows(self, case: Case, seed: int, equal_groups: bool) -> list[Row]:
        groups = np.unique(np.concatenate(self._groups[case]), return_inverse=True)[1]
        counts = np.bincount(groups).astype(np.float64)
        sums: dict[str, np.ndarray] = {
            method: np.bincount(groups, np.concatenate(parts), minlength=len(counts))
            for method, parts in self._errors[case].items()
        }
        poses = int(counts.sum())
        if equal_groups:
            sums = {method: total / counts for method, total in sums.items()}
            counts = np.ones_like(counts)
        draws = None
        if len(counts) >= _LEAST_GROUPS:
            rng = np.random.default_rng(seed)
            draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), _DRAWS).astype(np.float64)

        def row(method: str, metric: str, unit: str, above: np.ndarray, below: np.ndarray, over: str | None) -> Row:
            interval = None
            if draws is not None:
                low, high = np.percentile((draws @ above) / np.maximum(draws @ below, 1e-12), _COVERAGE)
                interval = (float(low), float(high))
            return Row(
                data=case.data, model=case.model, question=case.question, target=case.target,
                horizon_ms=case.horizon_ms, method=method, metric=metric, unit=unit,
                value=float(above.sum() / below.sum()), interval=interval,
                poses=poses, clips=len(counts), over=over,
            )  # fmt: skip

        rows = [row(method, case.metric, case.unit, total, counts, None) for method, total in sums.items()]
        others = [method for method in sums if method != NETWORK]
        # More is better for pck only, and its ratio is nothing that anybody reads.
        if others and not case.metric.startswith("pck"):
            best = min(others, key=lambda method: sums[method].sum())
            rows.append(row(NETWORK, f"{case.metric}_ratio", "1", sums[NETWORK], sums[best], best))
        return rows

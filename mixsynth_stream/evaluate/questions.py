"""Questions: for one question about some windows, every metric of every method that answers it, into the scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mixsynth_stream.evaluate.breakdown import breakdown
from mixsynth_stream.evaluate.scores import DENSE, NETWORK, PCK_THRESHOLDS, UNITS, Case, Scores, methods_of
from mixsynth_stream.metrics import aligned_joint_errors, joint_accel_errors, joint_errors, mean_over_joints, within

_MM_PER_M = 1000.0
# These questions have all metrics, and errors by joint group and by speed band.
MAIN = (("filled", None), ("now", None), ("ahead", 400))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The poses of all methods in some windows, beside the truth. T is grid steps, or the frames of a video."""

    poses: dict[str, np.ndarray]  # by method, [B, T, 17, D] pixels or metres; NaN where a method has no answer
    truth: np.ndarray  # [B, T, 17, D]; NaN where it is not known
    torso: np.ndarray  # [B] in the unit of the poses
    clip: np.ndarray  # [B] number of the clip
    space: str

    def methods(self, question: str) -> list[str]:
        """Those of the methods in `poses` that answer `question`."""
        return [method for method in methods_of(question) if method in self.poses]

    def report_factor(self) -> np.ndarray:  # [B, 1]
        """From the unit of the poses to that of reports: torso lengths, or millimetres."""
        return (1 / self.torso if self.space == "image" else np.full(len(self.torso), _MM_PER_M))[:, None]


def score_question(
    scores: Scores,
    case: Case,
    comparison: Comparison,
    steps: np.ndarray,  # [M] positions on T, whole or not
    detail: Scores | None = None,
    speed: np.ndarray | None = None,  # [B, T, 17] torso lengths a second, for `detail`
) -> None:
    """Add MPJPE at `steps`. Of a main question add all other metrics, too, and to `detail` the errors of its parts."""
    is_main, clip = (case.question, case.horizon_ms) in MAIN, comparison.clip[:, None]
    for metric, unit, metric_steps, errors in _joint_errors(comparison, case.question, steps, is_main):
        metric_case = replace(case, metric=metric, unit=unit)
        scores.add(metric_case, {method: mean_over_joints(values) for method, values in errors.items()}, clip)
        if is_main and detail is not None and speed is not None:
            sparse = {method: values for method, values in errors.items() if method not in DENSE}
            for part, part_errors in breakdown(sparse, at_steps(speed, metric_steps)):
                detail.add(replace(metric_case, **part), part_errors, clip[..., None])


def _joint_errors(
    comparison: Comparison, question: str, steps: np.ndarray, all_metrics: bool
) -> Iterator[tuple[str, str, np.ndarray, dict[str, np.ndarray]]]:
    """(metric, unit, steps where it has a value [M], errors by method [B, M, 17]) of MPJPE, or of all metrics."""
    factor, unit = comparison.report_factor()[..., None], UNITS[comparison.space]
    methods, truth = comparison.methods(question), at_steps(comparison.truth, steps)
    poses = {m: at_steps(comparison.poses[m], steps) for m in methods}
    distance = {m: joint_errors(values, truth) for m, values in poses.items()}
    _check_same_joints(question, distance)
    yield "mpjpe", unit, steps, {m: values * factor for m, values in distance.items()}
    if not all_metrics:
        return
    yield "p_mpjpe", unit, steps, {m: aligned_joint_errors(values, truth) * factor for m, values in poses.items()}
    for threshold in PCK_THRESHOLDS:
        limit = threshold * comparison.torso[:, None, None]
        yield f"pck@{threshold}", "1", steps, {m: within(values, limit) for m, values in distance.items()}
    if question == "ahead":
        return
    # In the gaps a whole interval counts, with one of its two keyframes, because the motion has a corner there.
    around = np.arange(steps[0] - (2 if question == "filled" else 1), steps[-1] + 2)
    if around[0] >= 0 and around[-1] < comparison.truth.shape[1]:
        truth = comparison.truth[:, around]
        errors = {m: joint_accel_errors(comparison.poses[m][:, around], truth) * factor for m in methods}
        yield "accel_error", f"{unit}/frame^2", around[1:-1], errors


def _check_same_joints(question: str, errors: dict[str, np.ndarray]) -> None:  # by method, [B, M, 17]
    """Raise `ValueError` where a method has no answer for a joint and another one has: its mean would flatter it."""
    known = ~np.isnan(errors[NETWORK])
    for method, values in errors.items():
        if (np.isnan(values) == known).any():
            raise ValueError(f"{method} and {NETWORK} were not judged on the same joints of {question!r}")


def at_steps(
    values: np.ndarray,  # [B, T, ...]
    steps: np.ndarray,  # [M]
) -> np.ndarray:  # [B, M, ...]
    """Read a grid at steps, whole or not: linearly between whole ones, as the window does."""
    below, above = np.floor(steps).astype(int), np.ceil(steps).astype(int)
    if (below == above).all():
        return values[:, below]
    phase = (steps - below).reshape(-1, *[1] * (values.ndim - 2))
    return np.asarray(values[:, below] * (1 - phase) + values[:, above] * phase)

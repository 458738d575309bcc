"""One question about some windows: every metric of every method that answers it, into the scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mixsynth_stream.evaluate.breakdown import breakdown
from mixsynth_stream.evaluate.scores import DENSE, NETWORK, PCK_THRESHOLDS, UNITS, Case, Scores, methods_of
from mixsynth_stream.metrics import aligned_joint_errors, joint_accel_errors, joint_errors, mean_over_joints, within

_MM_PER_M = 1000.0
# Questions with all metrics, by joint group and speed band, too.
MAIN = (("filled", None), ("now", None), ("ahead", 400))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What all methods said of some windows, and the truth. T may be grid steps or the frames of a video."""

    poses: dict[str, np.ndarray]  # by method, [B, T, 17, D] pixels or metres; NaN where a method has no answer
    truth: np.ndarray  # [B, T, 17, D]; NaN where it is not known
    torso: np.ndarray  # [B] in the unit of the poses
    clip: np.ndarray  # [B] number of the clip
    space: str

    def methods(self, question: str) -> list[str]:
        """Those that answer `question`, of those that are here."""
        return [method for method in methods_of(question) if method in self.poses]

    def per_unit(self) -> np.ndarray:  # [B, 1]
        """Factor from the unit of the poses to that of the report: torso lengths, or millimetres."""
        return (1 / self.torso if self.space == "image" else np.full(len(self.torso), _MM_PER_M))[:, None]


def score_question(
    scores: Scores,
    case: Case,
    judged: Judged,
    steps: np.ndarray,  # [M] positions on T, whole or not
    detail: Scores | None = None,
    speed: np.ndarray | None = None,  # [B, T, 17] torso lengths a second, for `detail`
) -> None:
    """Add MPJPE at `steps`, and for the main questions all other metrics and, to `detail`, their parts."""
    main, clip = (case.question, case.horizon_ms) in MAIN, judged.clip[:, None]
    for metric, unit, at, errors in _by_joint(judged, case.question, steps, main):
        about = replace(case, metric=metric, unit=unit)
        scores.add(about, {method: mean_over_joints(values) for method, values in errors.items()}, clip)
        if main and detail is not None and speed is not None:
            of_parts = {method: values for method, values in errors.items() if method not in DENSE}
            for part, of_part in breakdown(of_parts, at_steps(speed, at)):
                detail.add(replace(about, **part), of_part, clip[..., None])


def _by_joint(
    judged: Judged, question: str, steps: np.ndarray, all_metrics: bool
) -> Iterator[tuple[str, str, np.ndarray, dict[str, np.ndarray]]]:
    """(metric, unit, steps that it has a value at [M], errors by method [B, M, 17]): MPJPE, and the others if asked."""
    per_unit, unit = judged.per_unit()[..., None], UNITS[judged.space]
    methods, wanted = judged.methods(question), at_steps(judged.truth, steps)
    said = {m: at_steps(judged.poses[m], steps) for m in methods}
    distance = {m: joint_errors(poses, wanted) for m, poses in said.items()}
    _check_same_joints(question, distance)
    yield "mpjpe", unit, steps, {m: values * per_unit for m, values in distance.items()}
    if not all_metrics:
        return
    yield "p_mpjpe", unit, steps, {m: aligned_joint_errors(poses, wanted) * per_unit for m, poses in said.items()}
    for threshold in PCK_THRESHOLDS:
        limit = threshold * judged.torso[:, None, None]
        yield f"pck@{threshold}", "1", steps, {m: within(values, limit) for m, values in distance.items()}
    if question == "ahead":
        return
    # In the gaps over a whole interval, so that one of the two keyframes counts with its corner.
    around = np.arange(steps[0] - (2 if question == "filled" else 1), steps[-1] + 2)
    if around[0] >= 0 and around[-1] < judged.truth.shape[1]:
        truth = judged.truth[:, around]
        errors = {m: joint_accel_errors(judged.poses[m][:, around], truth) * per_unit for m in methods}
        yield "accel_error", f"{unit}/frame^2", around[1:-1], errors


def _check_same_joints(question: str, errors: dict[str, np.ndarray]) -> None:  # by method, [B, M, 17]
    """Raise `ValueError` where a method has no answer for a joint that another one has: means would flatter it."""
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

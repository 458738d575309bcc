"""One question about some windows: every metric of every method that answers it, into the scores."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixsynth_stream.evaluate_score import PCK_THRESHOLDS, UNITS, Case, Scores, methods_of
from mixsynth_stream.metrics import accel_error, joint_errors, mpjpe, p_mpjpe, pck

_MM_PER_M = 1000.0
# Questions with all metrics, and with errors by joint group and speed band.
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

    def errors(self, question: str, steps: np.ndarray) -> dict[str, np.ndarray]:  # [M] -> by method, [B, M, 17]
        """Errors by joint, in the unit of the report."""
        wanted, factor = at_steps(self.truth, steps), self.per_unit()[..., None]
        return {m: joint_errors(at_steps(self.poses[m], steps), wanted) * factor for m in self.methods(question)}


def score_question(
    scores: Scores,
    case: Case,
    judged: Judged,
    steps: np.ndarray,  # [M] positions on T, whole or not
) -> None:
    """Add MPJPE at `steps`, and for the main questions all other metrics."""
    wanted, per_unit, clip = at_steps(judged.truth, steps), judged.per_unit(), judged.clip[:, None]
    said = {m: at_steps(judged.poses[m], steps) for m in judged.methods(case.question)}
    unit = UNITS[judged.space]
    found = {m: mpjpe(poses, wanted) * per_unit for m, poses in said.items()}
    scores.add(replace(case, metric="mpjpe", unit=unit), found, clip)
    if (case.question, case.horizon_ms) not in MAIN:
        return
    found = {m: p_mpjpe(poses, wanted) * per_unit for m, poses in said.items()}
    scores.add(replace(case, metric="p_mpjpe", unit=unit), found, clip)
    for threshold in PCK_THRESHOLDS:
        found = {m: pck(poses, wanted, judged.torso[:, None], threshold) for m, poses in said.items()}
        scores.add(replace(case, metric=f"pck@{threshold}", unit="1"), found, clip)
    if case.question != "ahead":
        # In the gaps over a whole interval, so that one of the two keyframes counts with its corner.
        around = np.arange(steps[0] - (2 if case.question == "filled" else 1), steps[-1] + 2)
        if around[0] >= 0 and around[-1] < judged.truth.shape[1]:
            truth = judged.truth[:, around]
            found = {m: accel_error(judged.poses[m][:, around], truth) * per_unit for m in said}
            scores.add(replace(case, metric="accel_error", unit=f"{unit}/frame^2"), found, clip)


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

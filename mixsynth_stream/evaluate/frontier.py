"""Frontier: what each contender's poses are worth, against what they cost; and who is dominated by whom.

Errors are mean distances of the twelve limb joints in torso lengths: `now` of the pose that a Stream gives at lag 0
when the frame arrives, `filled` of the final pose. All contenders are judged on the same frames, keyframes included. A
frame without a pose counts as one torso length, and so does one whose pose is further off than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.data.camera_truth import LIMB_JOINTS
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.contenders import FILLED, NOW, QUESTIONS, Contender
from mixsynth_stream.evaluate.excerpt import Excerpt
from mixsynth_stream.evaluate.video import LEAST_SCORE, DensePoses, dense_poses, tracks
from mixsynth_stream.skeleton import BLAZEPOSE_33, Skeleton

LIMBS = list(LIMB_JOINTS)
_SHOULDERS, _HIPS = slice(0, 2), slice(6, 8)
# The window of the longest spacing is full after two seconds; of a short clip, at least the second half is judged.
_SETTLED_S = 2.0
# A reference of MediaPipe's counts where it follows somebody for so long without a jump.
_LEAST_TRACK_S = 1.0
# An error of so many torso lengths is as bad as no pose.
LOST = 1.0


def limbs_of(skeleton: Skeleton) -> list[int]:
    """The twelve limb joints in a skeleton. `ValueError` where it lacks one."""
    return [skeleton.index(BLAZEPOSE_33.joints[joint]) for joint in LIMBS]


@dataclass(frozen=True)
class Reference:
    """What poses are compared with."""

    name: str
    poses: np.ndarray  # [F, 12, 2] pixels; NaN where a joint is not judged

    @property
    def torso_px(self) -> float:
        """The mean length from the middle of the shoulders to that of the hips."""
        shoulders, hips = self.poses[:, _SHOULDERS].mean(axis=1), self.poses[:, _HIPS].mean(axis=1)
        return float(np.nanmean(np.linalg.norm(shoulders - hips, axis=1)))

    def judged(self, time_s: np.ndarray) -> Reference:  # [F]
        """The same with NaN in the frames before the windows of all contenders are full."""
        duration_s = time_s[-1] - time_s[0]
        is_early = time_s < time_s[0] + min(_SETTLED_S, duration_s / 2)
        return Reference(self.name, np.where(is_early[:, None, None], np.nan, self.poses))

    def errors(self, poses: np.ndarray) -> np.ndarray:  # [F, 12, 2] -> [J] torso lengths, of the frames judged
        """The error of each judged frame; a pose that is NaN is lost."""
        distances = np.linalg.norm(poses - self.poses, axis=-1)
        counts = np.isfinite(self.poses).all(axis=-1)
        rows = counts.any(axis=1)
        distances = np.where(counts, np.where(np.isfinite(distances), distances, np.inf), 0.0)[rows]
        return np.asarray(np.minimum(distances.sum(axis=1) / counts[rows].sum(axis=1) / self.torso_px, LOST))


def dense_reference(dense: DensePoses, name: str) -> Reference:
    """MediaPipe on every frame, where it follows one large person; joints that it doubts itself are not judged."""
    poses = np.full((len(dense.time_s), len(LIMBS), 2), np.nan)
    for piece in tracks(dense, _LEAST_TRACK_S):
        frames = np.searchsorted(dense.time_s, piece.time_s)
        poses[frames] = np.where(piece.scores[:, LIMBS, None] >= LEAST_SCORE, piece.poses[:, LIMBS], np.nan)
    if not np.isfinite(poses).any():
        raise SourceError(
            f"{dense.name}: {name} follows nobody for {_LEAST_TRACK_S:g} s: take a clip of one person in view, or --trc"
        )
    return Reference(name, poses)


def contender_errors(
    contender: Contender, clip: Path, reference: Reference, time_s: np.ndarray, phases: int
) -> dict[str, np.ndarray]:  # {question: [J]}
    """The errors of all judged frames and phases by question; `time_s` [F] are the times of the clip's frames.

    A stream is begun at `phases` frames that lie evenly in its first keyframe interval. Raises `SourceError`.
    """
    if contender.is_dense:
        with contender.open_dense() as estimator:
            dense = dense_poses(clip, estimator)
        errors = reference.errors(dense.poses[:, LIMBS])
        return dict.fromkeys(QUESTIONS, errors)
    parts: dict[str, list[np.ndarray]] = {question: [] for question in QUESTIONS}
    for phase in range(phases):
        start_s = time_s[0] + contender.interval_s * phase / phases
        first = int(np.argmin(np.abs(time_s - start_s)))
        for question, poses in _stream_poses(contender, clip, first, len(time_s)).items():
            parts[question].append(reference.errors(poses))
    return {question: np.concatenate(errors) for question, errors in parts.items()}


def _stream_poses(contender: Contender, clip: Path, first: int, frames: int) -> dict[str, np.ndarray]:
    """The limbs [F, 12, 2] of one stream by question, NaN where there are none. Raises `SourceError`."""
    poses = {question: np.full((frames, len(LIMBS), 2), np.nan) for question in QUESTIONS}
    numbers: dict[str, list[int]] = {question: [] for question in QUESTIONS}
    with contender.open_stream(Excerpt(clip, first=first), lag=0) as stream:
        for motion in stream:
            is_new = motion.index == len(numbers[NOW])
            for question in [NOW] * is_new + [FILLED] * motion.final:
                numbers[question].append(motion.index)
                if len(motion.ids):
                    poses[question][first + motion.index] = motion.poses[0, LIMBS]
    if any(sorted(indices) != list(range(frames - first)) for indices in numbers.values()):
        raise SourceError(f"{clip}: {frames - first} frames went in, and not each came out at once and once final")
    return poses


def dominators(points: Mapping[str, tuple[float, float]]) -> dict[str, list[str]]:  # {name: (cost, error)}
    """For each name those that cost no more and err no more, and are better in one of both; the cheapest first."""
    result = {}
    for name, (cost, error) in points.items():
        better = [
            (other_cost, other)
            for other, (other_cost, other_error) in points.items()
            if other_cost <= cost and other_error <= error and (other_cost, other_error) != (cost, error)
        ]
        result[name] = [other for _, other in sorted(better)]
    return result


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each default of ours: whether MediaPipe on every frame gives no worse poses for no more."""
    sentences = []
    dense = {row["contender"] for row in rows if row["every"] is None}
    for row in rows:
        for question in row["default_of"]:
            by = [name for name in row[f"{question}_dominated_by"] if name in dense]
            what = f"DOMINATED by {'; '.join(by)}" if by else "dominated by none of MediaPipe's"
            sentences.append(f"default for {question}, {row['contender']}: {what}")
    return sentences


def mean_rows(rows: Sequence[Mapping[str, Any]], case: str) -> list[dict[str, Any]]:
    """The rows of several clips as one case: each clip counts the same. Who dominates is told anew."""
    means = []
    for name in dict.fromkeys(row["contender"] for row in rows):
        of_name = [row for row in rows if row["contender"] == name]
        merged: dict[str, Any] = {**of_name[0], "case": case}
        for key, value in of_name[0].items():
            if isinstance(value, float):
                merged[key] = float(np.mean([row[key] for row in of_name]))
        means.append(merged)
    return with_dominators(means)


def with_dominators(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one case, each with the names of those that dominate it, question by question.

    The error of a question that a contender does not answer is None.
    """
    result = [dict(row) for row in rows]
    for question in QUESTIONS:
        key = f"{question}_torso"
        points = {row["contender"]: (row["cpu_ms"], row[key]) for row in rows if row[key] is not None}
        by_name = dominators(points)
        for row in result:
            row[f"{question}_dominated_by"] = by_name.get(row["contender"], [])
    return result

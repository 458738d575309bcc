"""Skeletons: what it costs a network that an estimator lacks some of its joints, on motion capture.

The same windows go in twice: whole, and with the joints that a skeleton lacks filled in as a stream does. Both are
judged on the joints that the skeleton has, over the best simple method there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.data.windows import Windows, validation_windows
from mixsynth_stream.evaluate.baselines import tuned_baselines
from mixsynth_stream.evaluate.mocap import predictions, question_steps, take_windows
from mixsynth_stream.evaluate.questions import MAIN, at_steps
from mixsynth_stream.evaluate.scores import NETWORK, simple_methods
from mixsynth_stream.metrics import joint_errors
from mixsynth_stream.normalise import scale_of, whole_pose
from mixsynth_stream.reports import table
from mixsynth_stream.skeleton import CORE_17, LANDMARKS, Skeleton
from mixsynth_stream.spaces import space_of
from mixsynth_stream.weights import Model

_STRIDE = 10
TARGETS = ("clean", "carried")


@dataclass(frozen=True, kw_only=True)
class SkeletonRow:
    """The network's error over that of the best simple method, on the joints that a skeleton has."""

    skeleton: str
    target: str
    question: str
    joints: int
    whole: float  # where the network sees all of its joints
    lacking: float  # where it sees those of the skeleton


def skeleton_rows(path: str | Path, model: Model, *, seed: int = 0, stride: int = _STRIDE) -> list[SkeletonRow]:
    """Rows of every skeleton that lacks joints, on the full windows of one file. Raises `SourceError`, `ModelError`."""
    model.expect(CORE_17, model.info.space)
    windows = validation_windows(load_clips(path), model.config, model.info.space, seed=seed, stride=stride)
    windows = take_windows(windows, np.flatnonzero(windows.valid[:, 0]))
    poses = predictions(model, windows.keyframes, 0, tuned_baselines(model.info.space, model.config.sample_interval))
    rows = []
    for skeleton in LANDMARKS:
        has = _joints_of(skeleton)
        if has.all():
            continue
        keyframes = whole_pose(np.where(has[:, None], windows.keyframes, np.nan).astype(windows.keyframes.dtype))
        lacking = predictions(model, keyframes, 0, {})[NETWORK]
        rows += _rows(model, windows, skeleton.name, has, poses, lacking)
    return rows


def _rows(
    model: Model,
    windows: Windows,
    skeleton: str,
    has: np.ndarray,  # [17] bool
    poses: dict[str, np.ndarray],  # by method, [B, T, 17, D]
    lacking: np.ndarray,  # [B, T, 17, D]
) -> list[SkeletonRow]:
    unit = np.median(scale_of(windows.clean), axis=1)[:, None] if model.info.space == "image" else 1.0
    rows = []
    for (question, horizon_ms), steps in question_steps(model.config, model.info.rate_hz).items():
        if (question, horizon_ms) not in MAIN:
            continue
        for target in TARGETS:
            truth = at_steps(getattr(windows, target), steps)[..., has, :]

            def error(answer: np.ndarray, truth: np.ndarray = truth, steps: np.ndarray = steps) -> float:
                return float((joint_errors(at_steps(answer, steps)[..., has, :], truth).mean(axis=-1) / unit).mean())

            best = min(error(poses[method]) for method in simple_methods(question))
            rows.append(
                SkeletonRow(
                    skeleton=skeleton,
                    target=target,
                    question=question if horizon_ms is None else f"{horizon_ms} ms ahead",
                    joints=int(has.sum()),
                    whole=error(poses[NETWORK]) / best,
                    lacking=error(lacking) / best,
                )
            )
    return rows


def _joints_of(skeleton: Skeleton) -> np.ndarray:  # [17] bool
    """Which joints of the network a skeleton has."""
    space = space_of("image", skeleton)
    return np.asarray(space.core < space.joints)


def skeleton_table(title: str, rows: list[SkeletonRow]) -> str:
    """A line for each skeleton and target; for each question the ratio with all joints, without, and both over one."""
    questions = list(dict.fromkeys(row.question for row in rows))
    lines = [["skeleton", "joints", "target", *(f"{q}: all, lacking, over" for q in questions)]]
    for key in dict.fromkeys((row.skeleton, row.joints, row.target) for row in rows):
        cells = {row.question: row for row in rows if (row.skeleton, row.joints, row.target) == key}
        numbers = [f"{r.whole:.3f} {r.lacking:.3f} {r.lacking / r.whole:.3f}" for r in map(cells.get, questions) if r]
        lines.append([key[0], f"{key[1]} of {len(CORE_17)}", key[2], *numbers])
    return f"{title}\n{table(lines)}\n"

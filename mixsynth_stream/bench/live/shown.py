"""Shown: where one person was shown when each frame came, and what that is worth beside other ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mixsynth_stream.evaluate.frontier import LIMBS, Reference
from mixsynth_stream.pipeline.forecast.simple import SIMPLE, Simple
from mixsynth_stream.pipeline.motion import Motion

# The largest step is this percentile, because one frame of a reference may be wrong.
LARGEST = 97


@dataclass
class Shown:
    """The limbs [F, 12, 2] in pixels by method, NaN where there are none; and at which frames an answer came."""

    poses: np.ndarray  # of the stream
    before: np.ndarray  # what the stream showed just before the frame came
    simple: dict[str, np.ndarray]  # what simple methods give from the same keyframes
    is_corrected: np.ndarray  # [F] bool
    keyframes: set[int] = field(default_factory=set)
    _past: Simple | None = None

    @classmethod
    def of(cls, frames: int) -> Shown:
        """Nothing yet, of so many frames."""
        poses, before, *simple = np.full((2 + len(SIMPLE), frames, len(LIMBS), 2), np.nan)
        return cls(poses, before, dict(zip(SIMPLE, simple, strict=True)), np.zeros(frames, bool))

    def take(self, frame: int, time_s: float, motions: Sequence[Motion]) -> None:
        """Take what came with a frame: its own Motion, and keyframes whose answers came."""
        for motion in motions:
            if motion.measured is not None and motion.index not in self.keyframes:
                self.keyframes.add(motion.index)
                self.is_corrected[frame] = True
                if motion.measured:
                    pose = motion.measured[0].pose[LIMBS]
                    past = self._past
                    self._past = Simple.first(motion.time_s, pose) if past is None else past.after(motion.time_s, pose)
            if (
                motion.index == frame
                and not motion.final
                and len(motion.ids)
                and not np.isfinite(self.poses[frame]).any()
            ):
                self.poses[frame] = motion.poses[0, LIMBS]
        if self._past is not None:
            for method, poses in self.simple.items():
                poses[frame] = self._past.at(method, [time_s])[0]


def worth(shown: Shown, reference: Reference, held: np.ndarray) -> dict[str, Any]:  # held [F, 12, 2]
    """What a row says of poses: the error, over those of others, and the largest steps, over the true one.

    `held` is MediaPipe as fast as it goes with its newest result held.
    """
    error = float(reference.errors(shown.poses).mean())
    simple = {method: float(reference.errors(poses).mean()) for method, poses in shown.simple.items()}
    held_error = float(reference.errors(held).mean())
    true = largest_step(reference, reference.poses[1:], reference.poses[:-1])
    steps = {
        "step": largest_step(reference, shown.poses[1:], shown.poses[:-1]),
        "correction": largest_step(reference, shown.poses[1:], shown.before[1:], shown.is_corrected[1:]),
        "held_step": largest_step(reference, held[1:], held[:-1]),
    }
    return {
        "error_torso": error,
        **{f"over_{method}": error / value for method, value in simple.items()},
        "over_best_simple": error / min(simple.values()),
        "over_held_mediapipe": error / held_error,
        "true_step_torso": true,
        **{f"{name}_over_true": value / true for name, value in steps.items()},
    }


def largest_step(
    reference: Reference,
    now: np.ndarray,  # [F - 1, 12, 2]
    before: np.ndarray,  # [F - 1, 12, 2]
    rows: np.ndarray | None = None,  # [F - 1] bool; None: all
) -> float:
    """The largest mean motion of the limbs in torso lengths, of joints that the reference follows: of half at least."""
    is_followed = np.isfinite(reference.poses).all(axis=-1)
    is_judged = is_followed[1:] & is_followed[:-1]
    counts = is_judged.sum(axis=1)
    moves = np.where(is_judged, np.linalg.norm(now - before, axis=-1), 0.0)
    steps = moves.sum(axis=1) / np.maximum(counts, 1) / reference.torso_px
    steps = steps[(counts >= len(LIMBS) / 2) & np.isfinite(steps) & (True if rows is None else rows)]
    return float(np.percentile(steps, LARGEST)) if len(steps) else float("nan")

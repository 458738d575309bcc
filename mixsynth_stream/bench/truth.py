"""`bench truth`: 2D error between keyframes against measured motion, projected into the camera that filmed it.

The clip is streamed once from every frame that could be the first keyframe. The frames between keyframes of a full
window ("gaps") are judged, those of the first windows separately ("warm-up"), and from the third keyframe on what was
said of a frame before the next keyframe came ("now"), always on the twelve limb joints.
PCHIP gets the estimator's poses at the same keyframes as the network. With `glance`, people are followed in the picture
between keyframes. "within sigma" is the share of joints whose distance to the estimator on every frame, which is what
sigma speaks of, is at most sigma, and at most twice that.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixsynth_stream.data.camera_truth import limbs_in_picture, read_camera
from mixsynth_stream.data.trc import read_trc
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.baselines import pchip
from mixsynth_stream.evaluate.contenders import NOW, Contender, dense_contender
from mixsynth_stream.evaluate.excerpt import Excerpt
from mixsynth_stream.evaluate.frontier import Reference, limbs_of
from mixsynth_stream.evaluate.video import dense_poses
from mixsynth_stream.pipeline.frame import UNKNOWN_RATE_HZ
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.reports import table, write_json
from mixsynth_stream.skeleton import LANDMARKS, named_skeleton
from mixsynth_stream.spaces import LANDMARK_SPACES
from mixsynth_stream.weights import load_model

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model

NETWORK, PCHIP, DENSE, KEYFRAME = "network", "PCHIP", "dense estimator", "estimator at keyframes"
# How many keyframes come before the first pose of now that is judged.
_FIRST_NOW = 3
GAPS, WARM_UP = QUESTIONS = "gaps", "warm-up"


@dataclass
class Errors:
    """Errors in pixels of each method, by question."""

    distances: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)  # [12] a frame
    # [12] a frame: distances to the dense estimator, in sigmas
    sigmas: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, question: str, method: str, pose: np.ndarray, truth: np.ndarray) -> None:  # [12, 2] each
        if np.isfinite(pose).all():
            self.distances.setdefault((question, method), []).append(np.linalg.norm(pose - truth, axis=1))

    def add_sigma(self, question: str, motion: Motion, every_frame: np.ndarray) -> None:  # [12, 2]
        """The distances of one person to the dense estimator, in sigmas."""
        if motion.sigma is not None:
            limbs = limbs_of(motion.skeleton)
            off_px = np.linalg.norm(motion.poses[0, limbs] - every_frame, axis=1)
            self.sigmas.setdefault(question, []).append(off_px / motion.sigma[0, limbs])

    def within(self, question: str, sigmas: float) -> float | None:
        """The share of joints that are at most so many sigmas off the dense estimator; None without sigma."""
        rows = np.array(self.sigmas.get(question, []))
        known = rows[np.isfinite(rows)]
        return float(np.mean(known <= sigmas)) if known.size else None

    def mean_px(self, question: str, method: str) -> float:
        return float(np.mean(self.distances[question, method]))

    def over_pchip(self, question: str, method: str) -> float | None:
        """The error over that of PCHIP, which has none where it would need a later keyframe."""
        if (question, PCHIP) not in self.distances:
            return None
        return self.mean_px(question, method) / self.mean_px(question, PCHIP)


def main(args: argparse.Namespace) -> int:
    """Run and print the table."""
    truth = limbs_of_clip(args.video, args.trc, args.calibration, args.camera)
    names = args.weights or [shipped_name(space, args.every) for space in LANDMARK_SPACES]
    image, world = (load_model(name) for name in names)
    errors = clip_errors(args.video, truth, (image, world), args.model, glance=args.glance)
    torso_px = Reference("truth", truth).torso_px
    rows = [
        {
            "case": args.video.name,
            "every": image.config.sample_interval,
            "question": question,
            "method": method,
            "error_px": errors.mean_px(question, method),
            "error_torso": errors.mean_px(question, method) / torso_px,
            "over_pchip": errors.over_pchip(question, method),
            "frames": len(distances),
            "glance": args.glance,
            "within_sigma": errors.within(question, 1.0) if method == NETWORK else None,
            "within_2_sigma": errors.within(question, 2.0) if method == NETWORK else None,
        }
        for question in (*QUESTIONS, NOW)
        for method in (NETWORK, PCHIP, DENSE, KEYFRAME)
        if (distances := errors.distances.get((question, method)))
    ]
    if not rows:
        raise SourceError(f"{args.video} has no gap between two keyframes at which one person was seen")
    print(f"{args.video.name}: {len(truth)} frames of truth, torso {torso_px:.0f} px, mean error of 12 limb joints")
    heads = ["question", "method", "px", "torso lengths", "over PCHIP", "frames", "within sigma"]
    print(table([heads, *map(_cells, rows)]))
    if args.json is not None:
        write_json(args.json, rows)
    return 0


def _cells(row: Mapping[str, Any]) -> list[str]:
    errors = [f"{row['error_px']:.2f}", f"{row['error_torso']:.4f}"]
    errors.append("" if row["over_pchip"] is None else f"{row['over_pchip']:.3f}")
    method = f"{row['method']} and glance" if row["glance"] and row["method"] == NETWORK else row["method"]
    shares = [row["within_sigma"], row["within_2_sigma"]]
    within = "" if None in shares else f"{shares[0]:.2f}, {shares[1]:.2f}"
    return [row["question"], method, *errors, str(row["frames"]), within]


def clip_errors(
    clip: Path,
    truth: np.ndarray,  # [F, 12, 2] pixels, one row a frame
    models: tuple[Model, Model],
    pose_model: str,
    *,
    glance: bool = False,
) -> Errors:
    """The errors of the network, of PCHIP, and of the estimator on every frame, in the same frames."""
    contender = Contender(model=pose_model, glance=glance)
    every_frame = _dense_poses(clip, pose_model)
    if len(every_frame) != len(truth):
        raise SourceError(
            f"{clip} has {len(every_frame)} frames and the truth {len(truth)} rows: they must belong together"
        )
    errors = Errors()
    config = models[0].config
    with VideoReader(clip) as reader:
        rate_hz = reader.info.rate_hz or UNKNOWN_RATE_HZ
        phases = max(round(config.sample_interval * rate_hz / models[0].info.rate_hz), 1)
    for phase in range(phases):
        with contender.open_stream(Excerpt(clip, first=phase), lag=0, models=models) as stream:
            _judge(list(stream), phase, truth, every_frame, models, errors)
    return errors


def _judge(
    motions: Sequence[Motion],
    phase: int,
    truth: np.ndarray,  # [F, 12, 2]
    every_frame: np.ndarray,  # [F, 12, 2], of the dense estimator
    models: tuple[Model, Model],
    errors: Errors,
) -> None:
    """Add the errors of one stream, gap by gap. A gap counts where each keyframe of its window shows one person."""
    limbs = limbs_of(motions[0].skeleton) if motions else []
    early = {motion.index: motion for motion in motions if not motion.final}
    motions = [motion for motion in motions if motion.final]
    config, grid_hz = models[0].config, models[0].info.rate_hz
    spacing_s = config.sample_interval / grid_hz
    keyframes = [motion for motion in motions if motion.keyframe]
    for newest in range(1, len(keyframes)):
        left, right = keyframes[newest - 1], keyframes[newest]
        # The last frame of a clip is a keyframe off the grid; no other gap of a stream is like the one before it.
        if right is motions[-1] and abs(right.time_s - left.time_s - spacing_s) > 0.01 * spacing_s:
            continue
        window = keyframes[max(newest - config.step, 0) : newest + 1]
        if not all(keyframe.measured and len(keyframe.ids) == 1 for keyframe in window):
            continue
        question = GAPS if len(window) == config.num_keyframes else WARM_UP
        measured = np.array([keyframe.measured[0].pose[limbs] for keyframe in window if keyframe.measured])
        errors.add(question, KEYFRAME, measured[-1], truth[phase + right.index])
        gap = [m for m in motions[left.index + 1 : right.index] if len(m.ids) == 1]
        steps = np.interp(
            [m.time_s for m in gap], [k.time_s for k in window], np.arange(len(window)) * config.sample_interval
        )
        pchip_poses = pchip(measured[None], config.sample_interval, steps)[0]
        for motion, pchip_pose in zip(gap, pchip_poses, strict=True):
            frame = phase + motion.index
            errors.add(question, NETWORK, motion.poses[0, limbs], truth[frame])
            errors.add(question, PCHIP, pchip_pose, truth[frame])
            errors.add(question, DENSE, every_frame[frame], truth[frame])
            errors.add_sigma(question, motion, every_frame[frame])
            now = early[motion.index]
            # The keyframe at the end of the gap was not known then.
            if newest >= _FIRST_NOW and len(now.ids) == 1:
                errors.add(NOW, NETWORK, now.poses[0, limbs], truth[frame])
                errors.add(NOW, DENSE, every_frame[frame], truth[frame])
                errors.add_sigma(NOW, now, every_frame[frame])


def _dense_poses(clip: Path, pose_model: str) -> np.ndarray:  # -> [F, 12, 2], NaN where nobody was seen
    with dense_contender(pose_model).open_dense() as estimator:
        return dense_poses(clip, estimator).poses[:, limbs_of(named_skeleton(estimator.skeleton, LANDMARKS))]


def limbs_of_clip(clip: Path, trc: Path, calibration: Path, camera: str | None) -> np.ndarray:  # -> [F, 12, 2] pixels
    """The measured limbs in the picture of a camera; by default that of the clip's name. Raises `ValueError`."""
    return limbs_in_picture(read_trc(trc), read_camera(calibration, camera or camera_of(clip)))


def camera_of(clip: Path) -> str:
    """The camera of a clip in the calibrations of Pose2Sim: `cam_03` filmed `cam03.mp4` and `cam03_30hz.mp4`."""
    match = re.match(r"cam(\d+)(?!\d)", clip.stem)
    return f"cam_{match[1]}" if match else clip.stem

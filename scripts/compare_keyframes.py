"""Compare chosen keyframes (`--every auto`) with a fixed spacing at the same number of estimator calls.

    python scripts/compare_keyframes.py VIDEO... [--budget 2.5 3 4 6] [--truth FOLDER] [--keep FOLDER]

The pose model looks at every frame of a video once, in keyframe mode; all streams replay these estimates, with glances,
so a comparison costs no more than following. Errors are means over all frames but those of the first third of a second,
in torso lengths: of poses of now (lag 0) and of final ones. They are against the estimates of every frame, or with
--truth (Pose2Sim's demo; videos named camNN) against the triangulated limbs. "over fixed" is the error over that of a
fixed spacing at as many calls, between N = 5, 10 and 15 on logarithmic scales. --keep holds estimates for later runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.data.camera_truth import LIMB_JOINTS, limbs_in_picture, read_camera
from mixsynth_stream.data.trc import read_trc
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.presets import AUTO, SHIPPED_INTERVALS
from mixsynth_stream.reports import table
from mixsynth_stream.spaces import GRID_HZ, SPACES

LIMBS = list(LIMB_JOINTS)
PHASES = 4
WARM_S = 1 / 3


@dataclass(frozen=True)
class Clip:
    """A video of one person, the estimates of every frame, and where the limbs are [F, 12, 2]."""

    path: Path
    estimates: dict[str, np.ndarray]
    truth: np.ndarray

    @property
    def rate_hz(self) -> float:
        times = self.estimates["time_s"]
        return float((len(times) - 1) / (times[-1] - times[0]))

    @property
    def torso_px(self) -> float:
        return float(np.nanmedian(scale_of(self.estimates["poses"][:, SPACES["image"].core])))


def read_clip(path: Path, keep: Path | None, truth: Path | None) -> Clip:
    """The estimates of a video's every frame, from an earlier run where there is one."""
    kept = None if keep is None else keep / f"{path.stem}-every-frame.npz"
    if kept is not None and kept.exists():
        estimates = dict(np.load(kept))
    else:
        estimates = estimates_of(path)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **estimates)
    limbs = estimates["poses"][:, LIMBS]
    if truth is not None:
        camera = read_camera(truth / "calibration_qualisys.toml", path.stem.replace("cam", "cam_"))
        measured = limbs_in_picture(read_trc(truth / "single_raw.trc"), camera)
        limbs = np.full_like(limbs, np.nan)
        limbs[: len(measured)] = measured[: len(limbs)]
    return Clip(path, estimates, limbs)


def estimates_of(path: Path) -> dict[str, np.ndarray]:
    rows: dict[str, list[np.ndarray]] = {"poses": [], "world": [], "scores": []}
    times_s = []
    nobody = {"poses": np.full((33, 2), np.nan), "world": np.full((33, 3), np.nan), "scores": np.zeros(33)}
    with MediaPipeEstimator() as estimator, open_source(path) as reader:
        for frame in reader:
            people = estimator(frame.rgb, frame.time_s)
            person = (
                {"poses": people[0].pose, "world": people[0].world, "scores": people[0].scores} if people else nobody
            )
            for name, values in rows.items():
                values.append(person[name])
            times_s.append(frame.time_s)
            frame.release()
    return {"time_s": np.array(times_s), **{name: np.array(values) for name, values in rows.items()}}


def errors(clip: Clip, first: int, **options: object) -> tuple[float, float, float]:
    """Errors of now and of finals in torso lengths, and calls a second, of a stream from a frame on."""
    reader = open_source(clip.path)
    for _ in range(first):
        next(reader).release()
    frames = len(clip.truth)
    poses = np.full((2, frames, len(LIMBS), 2), np.nan)
    keyframes = []
    with Stream(reader, estimator=ArrayEstimator(clip.estimates), lag=0, max_people=1, cuts=False, **options) as stream:
        for motion in stream:
            if len(motion.ids) and motion.index < frames:
                poses[int(motion.final), motion.index] = motion.poses[0, LIMBS]
            if motion.final and motion.keyframe:
                keyframes.append(motion.index)
    start = first + int(np.ceil(WARM_S * clip.rate_hz))
    # The last frame of a file is a keyframe in any case.
    distances = np.linalg.norm(poses - clip.truth, axis=-1).mean(axis=-1)[:, start : frames - 1] / clip.torso_px
    calls = sum(start <= keyframe < frames - 1 for keyframe in keyframes)
    now, final = np.nanmean(distances, axis=1)
    return float(now), float(final), calls / (frames - 1 - start) * clip.rate_hz


def mean_errors(clip: Clip, steps: int, **options: object) -> np.ndarray:  # [3]
    """The mean over several first frames within `steps` of the grid."""
    interval = max(round(steps * clip.rate_hz / GRID_HZ), 1)
    firsts = range(0, interval, max(interval // PHASES, 1))
    return np.mean([errors(clip, first, **options) for first in firsts], axis=0)


def compare(clip: Clip, budgets: Sequence[float]) -> list[np.ndarray]:
    """Print a table of one clip; returns the ratios [2] of each budget: now and final, over fixed."""
    rows = [[clip.path.stem, "calls/s", "now", "over fixed", "final", "over fixed"]]
    fixed = []
    for every in sorted(SHIPPED_INTERVALS, reverse=True):
        fixed.append(mean_errors(clip, every, every=every, glance=True))
        now, final, calls = fixed[-1]
        rows.append([f"N = {every}", f"{calls:.2f}", f"{now:.4f}", "", f"{final:.4f}", ""])
    logs = np.log(fixed)
    ratios = []
    for budget in budgets:
        now, final, calls = mean_errors(clip, 10, every=AUTO, budget=budget)
        peers = [np.exp(np.interp(np.log(calls), logs[:, 2], logs[:, kind])) for kind in range(2)]
        ratios.append(np.array([now, final]) / peers)
        cells = [f"{now:.4f}", f"{ratios[-1][0]:.3f}", f"{final:.4f}", f"{ratios[-1][1]:.3f}"]
        rows.append([f"auto, budget {budget:g}", f"{calls:.2f}", *cells])
    print(table(rows), flush=True)
    return ratios


def main(argv: Sequence[str] | None = None) -> None:
    """Compare on each video, then print the means over all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--budget", nargs="+", type=float, default=[2.5, 3.0, 4.0, 6.0], metavar="CALLS")
    parser.add_argument("--truth", type=Path, metavar="FOLDER")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    args = parser.parse_args(argv)
    ratios = np.array([compare(read_clip(path, args.keep, args.truth), args.budget) for path in args.videos])
    now, final = ratios.mean(axis=(0, 1))
    worst_now, worst_final = ratios.max(axis=(0, 1))
    cells = f"now {now:.3f} ({worst_now:.3f}), final {final:.3f} ({worst_final:.3f})"
    print(f"over fixed at as many calls, mean (worst): {cells}")


if __name__ == "__main__":
    main()

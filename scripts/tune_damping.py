#!/usr/bin/env python3
"""Find the time constant with which the damped-velocity baseline does best on training clips.

    python scripts/tune_damping.py TRAIN.npz [TRAIN.npz ...]

The keyframes are the simulated estimator's, as in `evaluate`. The error is the mean of 100-600 ms past the newest
keyframe, against the recorded motion and against the motion with the estimator's slow error. Put the result into
TUNED_DAMPING_STEPS of mixsynth_stream/baselines.py.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from mixsynth_stream.baselines import damped_velocity
from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.data.windows import validation_windows
from mixsynth_stream.evaluate_score import HORIZONS_MS
from mixsynth_stream.metrics import mpjpe
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.weights import shipped_config

GRID = (0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 12, 24)


def errors(files: list[str], space: str, target: str) -> np.ndarray:  # [len(GRID)], every file counting the same
    config = shipped_config(space)
    steps = config.newest + np.array([round(ms * 30 / 1000) for ms in HORIZONS_MS])
    rows = []
    for path in files:
        windows = validation_windows(load_clips(path), config, space, seed=0, stride=15)
        full = windows.valid.all(axis=1)
        keyframes, truth = windows.keyframes[full], getattr(windows, target)[full][:, steps]
        unit = np.median(scale_of(windows.clean[full]), axis=1)[:, None] if space == "image" else 0.001
        rows.append([
            (mpjpe(damped_velocity(keyframes, config.sample_interval, steps, float(d)), truth) / unit).mean()
            for d in GRID
        ])  # fmt: skip
    return np.mean(rows, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="TRAIN.npz")
    args = parser.parse_args()
    for space, target in itertools.product(("image", "world"), ("clean", "carried")):
        found = errors(args.files, space, target)
        for damping, error in zip(GRID, found, strict=True):
            print(f"{space} {target} {damping:5.2f} steps: {error:.4f}{'  best' if error == found.min() else ''}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Find the parameters with which the baselines of `evaluate` do best on training clips.

    python scripts/tune_baselines.py TRAIN.npz [TRAIN.npz ...]

The keyframes are the simulated estimator's, as in `evaluate`. Every file counts the same, and so do both targets: the
recorded motion, and the motion with the estimator's slow error. The search looks for the least:

damping, Kalman  mean error of 100-600 ms past the newest keyframe; of the smoother: in the last interval before it
One-Euro         mean error plus Accel error in the intervals around the newest keyframe, each over that of raw
                 estimates, which have the smallest error of position: the filter is there to smooth them
ridge            mean error in the last interval and up to 600 ms past it, carried target; fitted on every second clip,
                 judged on the others

The last lines are the table TUNED of mixsynth_stream/evaluate/baselines.py.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.mocap import Clip, load_clips
from mixsynth_stream.data.windows import Windows, validation_windows
from mixsynth_stream.evaluate.baselines import TUNED, Baseline, damped_velocity, kalman
from mixsynth_stream.evaluate.filters import one_euro
from mixsynth_stream.evaluate.mocap import take_windows
from mixsynth_stream.evaluate.ridge import ridge_sums
from mixsynth_stream.metrics import accel_error, mpjpe
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.presets import SHIPPED_INTERVALS, shipped_config
from mixsynth_stream.spaces import GRID_HZ, SPACES

STRIDE = 30
DAMPING_STEPS = (0.03, 0.06, 0.12, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 12, 24)
KALMAN_NOISE = (1e-5, 1e-4, 3e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
ONE_EURO = tuple(itertools.product((0.5, 1, 2, 4, 8, 16, 32), (0, 0.12, 0.25, 0.5, 1, 2, 4, 8, 16)))
RIDGE_STRENGTH = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)


class Sets:
    """Full windows of every file, and mean errors on them in torso lengths or metres."""

    def __init__(self, sets: Sequence[Sequence[Clip]], config: ModelConfig, space: str) -> None:
        self.config, self.space = config, space
        self.windows = []
        for clips in sets:
            windows = validation_windows(clips, config, space, seed=0, stride=STRIDE)
            self.windows.append(take_windows(windows, np.flatnonzero(windows.valid.all(axis=1))))

    def error(
        self,
        predict: Callable[[Windows], np.ndarray],  # -> [B, M, 17, D]
        steps: np.ndarray,  # [M]
        targets: Sequence[str] = ("clean", "carried"),
        metric: Callable[[np.ndarray, np.ndarray], np.ndarray] = mpjpe,
    ) -> float:
        """The mean error of these poses over files and targets."""
        errors = []
        for windows in self.windows:
            unit, poses = self.unit(windows), predict(windows)
            errors += [(metric(poses, getattr(windows, target)[:, steps]) / unit).mean() for target in targets]
        return float(np.mean(errors))

    def method_error(self, method: Baseline, steps: np.ndarray, targets: Sequence[str] = ("clean", "carried")) -> float:
        """The mean error of a method on keyframes over files and targets."""
        n = self.config.sample_interval
        return self.error(lambda windows: method(windows.keyframes, n, steps), steps, targets)

    def unit(self, windows: Windows) -> np.ndarray:  # [B, 1]
        return np.median(scale_of(windows.clean), axis=1)[:, None] if self.space == "image" else np.ones((1, 1))


def best(name: str, candidates: Sequence[object], error: Callable[[object], float]) -> object:
    """Print every candidate and return the best: of several that are equal to five digits, the last."""
    errors = [round(error(candidate), 5) for candidate in candidates]
    winner = candidates[len(errors) - 1 - int(np.argmin(errors[::-1]))]
    for candidate, value in zip(candidates, errors, strict=True):
        print(f"{name} {candidate}: {value:.5f}{'  best' if candidate is winner else ''}")
    return winner


def tune(files: Sequence[Sequence[Clip]], space: str, sample_interval: int) -> str:
    """One row of the table."""
    config = shipped_config(space, sample_interval)
    name, n, newest = f"{space} N = {sample_interval}", sample_interval, config.newest
    gap, ahead = np.arange(newest - n + 1, newest), newest + np.arange(3, 19)
    sets = Sets(files, config, space)
    damping = best(
        f"{name} damping", DAMPING_STEPS, lambda d: sets.method_error(partial(damped_velocity, damping_steps=d), ahead)
    )

    def kalman_error(noise: float, steps: np.ndarray) -> float:
        return sets.method_error(partial(kalman, gap_noise=noise, noise=noise), steps)

    gap_noise, noise = (
        best(f"{name} Kalman {word}", KALMAN_NOISE, partial(kalman_error, steps=steps))
        for word, steps in (("gap", gap), ("ahead", ahead))
    )
    cutoff, beta = best(f"{name} One-Euro", ONE_EURO, one_euro_cost(sets))
    sums = ridge_sums([clip for clips in files for clip in clips[::2]], config, space, SPACES[space].normalisation)
    others = Sets([clips[1::2] for clips in files], config, space)
    steps = np.concatenate([gap, newest + np.arange(1, 19)])
    strength = best(f"{name} ridge", RIDGE_STRENGTH, lambda s: others.method_error(sums.fit(s), steps, ("carried",)))
    return (
        f"        {n}: Tuned(damping_steps={damping}, kalman_gap_noise={gap_noise}, kalman_noise={noise}, "
        f"one_euro_cutoff_hz={cutoff}, one_euro_beta={beta}, ridge_strength={strength}),"
    )


def one_euro_cost(sets: Sets) -> Callable[[tuple[float, float]], float]:
    """Error of a cutoff and a beta in the two intervals around the newest keyframe."""
    n, newest = sets.config.sample_interval, sets.config.newest
    steps = np.arange(newest - n + 1, newest + n)

    def one_euro_poses(windows: Windows, cutoff_hz: float, beta: float) -> np.ndarray:
        unit = sets.unit(windows)[..., None, None]
        return one_euro(windows.estimates / unit, GRID_HZ, cutoff_hz, beta)[:, steps] * unit

    raw = [sets.error(lambda windows: windows.estimates[:, steps], steps, metric=m) for m in (mpjpe, accel_error)]
    return lambda p: sum(
        sets.error(lambda windows: one_euro_poses(windows, *p), steps, metric=m) / reference
        for m, reference in zip((mpjpe, accel_error), raw, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="TRAIN.npz")
    parser.add_argument("--every", type=int, nargs="+", default=SHIPPED_INTERVALS, metavar="N")
    args = parser.parse_args()
    files = [load_clips(path) for path in args.files]
    table = []
    for space in TUNED:
        table += [f'    "{space}": {{', *(tune(files, space, n) for n in args.every), "    },"]
    print("\n".join(table))


if __name__ == "__main__":
    main()

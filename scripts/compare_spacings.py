"""Compare networks on keyframes at regular and at random distances, which is what chosen keyframes come to.

    python scripts/compare_spacings.py CLIP... [--weights image-n10 FILE ...]

Clips are videos of one person, or poses of every frame as `evaluate --keep-dense` writes them. Keyframes are taken from
these poses, at fixed and at random whole distances in steps of 1/30 s, four draws each. A cell is two ratios of mean
errors, a geometric mean over the clips: now and up to the next keyframe, over the better of hold and damped velocity;
and filled, between the newest two keyframes, over PCHIP through all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import gmean

from mixsynth_stream.evaluate.video import dense_poses, tracks
from mixsynth_stream.interpolation import DAMPING_STEPS
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.presets import SHIPPED_INTERVALS, shipped_name
from mixsynth_stream.reports import table
from mixsynth_stream.spaces import GRID_HZ, SPACES, scale_floor
from mixsynth_stream.weights import Model, load_model

# The least and the most steps of 1/30 s between keyframes.
SPACINGS = [(5, 5), (10, 10), (3, 8), (5, 15), (3, 15)]
DRAWS = 4
# Two keyframes as far apart as any here, and what lies before and after them.
LEAST_S = 1.5


@dataclass(frozen=True)
class Clip:
    time_s: np.ndarray  # [F]
    poses: np.ndarray  # [F, 33, D] in the space of the network
    height_px: int


def read_clips(path: Path, space: str) -> list[Clip]:
    """The pieces of a video in which one person is followed."""
    clips = []
    for dense in tracks(dense_poses(path), LEAST_S):
        poses = (dense.poses if space == "image" else dense.world).astype(np.float64)
        clips.append(Clip(dense.time_s, poses, dense.height_px))
    return clips


def draw_keyframes(clip: Clip, least: int, most: int, seed: int) -> list[int]:
    """Frames at random distances of `least` to `most` steps."""
    rng = np.random.default_rng(seed)
    step = 1 / (GRID_HZ * float(np.median(np.diff(clip.time_s))))
    frames = [int(rng.integers(least))]
    while frames[-1] * step < len(clip.time_s):
        frames.append(frames[-1] + int(rng.integers(least, most + 1)))
    return [round(frame * step) for frame in frames if round(frame * step) < len(clip.time_s)]


def errors_of(model: Model, clip: Clip, keyframes: Sequence[int]) -> dict[str, list[np.ndarray]]:
    """Distances of single joints, by method: those of the network, and of simple methods on the same frames."""
    joints = SPACES[model.info.space].core
    window = MotionWindow(model, min_scale=scale_floor(model.info.space, clip.height_px))
    through_all = PchipInterpolator(clip.time_s[keyframes], clip.poses[keyframes])
    errors: dict[str, list[np.ndarray]] = {key: [] for key in ("filled", "pchip", "now", "hold", "damped_velocity")}

    def add(method: str, poses: np.ndarray, frames: np.ndarray) -> None:
        errors[method].append(np.linalg.norm((poses - clip.poses[frames])[:, joints], axis=-1).ravel())

    for number, (before, frame) in enumerate(pairwise(keyframes)):
        if not number:
            window.push(clip.poses[before], None, clip.time_s[before])
        window.push(clip.poses[frame], None, clip.time_s[frame])
        if not number:
            continue
        gap = np.arange(before + 1, frame)
        add("filled", window.at(clip.time_s[gap]).poses, gap)
        add("pchip", through_all(clip.time_s[gap]), gap)
        following = keyframes[number + 2] if number + 2 < len(keyframes) else frame
        ahead = np.arange(frame + 1, following + 1)
        add("now", window.at(clip.time_s[ahead]).poses, ahead)
        add("hold", np.broadcast_to(clip.poses[frame], (len(ahead), *clip.poses[frame].shape)), ahead)
        velocity = (clip.poses[frame] - clip.poses[before]) / (clip.time_s[frame] - clip.time_s[before])
        damping_s = DAMPING_STEPS / GRID_HZ
        way_s = damping_s * (1 - np.exp(-(clip.time_s[ahead] - clip.time_s[frame]) / damping_s))
        add("damped_velocity", clip.poses[frame] + way_s[:, None, None] * velocity, ahead)
    return errors


def ratios(model: Model, clips: Sequence[Clip], least: int, most: int) -> tuple[float, float]:
    """Now and filled, over the simple methods."""
    now, filled = [], []
    for clip in clips:
        draws = [errors_of(model, clip, draw_keyframes(clip, least, most, seed)) for seed in range(DRAWS)]
        mean = {method: np.concatenate([e for one in draws for e in one[method]]).mean() for method in draws[0]}
        now.append(mean["now"] / min(mean["hold"], mean["damped_velocity"]))
        filled.append(mean["filled"] / mean["pchip"])
    return float(gmean(now)), float(gmean(filled))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--weights", nargs="+", default=[shipped_name("image", n) for n in SHIPPED_INTERVALS])
    args = parser.parse_args()
    rows = [["", *(f"{a}" if a == b else f"{a} to {b}" for a, b in SPACINGS)]]
    for name in args.weights:
        model = load_model(name)
        clips = [clip for path in args.clips for clip in read_clips(path, model.info.space)]
        cells = (ratios(model, clips, *spacing) for spacing in SPACINGS)
        rows.append([name, *(f"{now:.3f} / {filled:.3f}" for now, filled in cells)])
    print("now / filled", table(rows), sep="\n")


if __name__ == "__main__":
    main()

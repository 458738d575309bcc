"""`demo`: the main job on a bundled clip, with everything that it can write, and a summary of what it cost."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.commands.run import add_stream_arguments
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.job.process import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixsynth_stream.job.process import Done
    from mixsynth_stream.weights import Model

_WHAT = {
    "overlay.mp4": "the video with the poses drawn on it",
    "poses.jsonl": "every frame's poses, one JSON object a line",
    "poses.csv": "the same, one row a joint",
    "poses.npz": "the same, as numpy arrays",
    "plot.png": "joints over time, keyframes marked, forecasts fanned out",
}
_TIMED_CALLS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `demo`."""
    parser.add_argument("--out", type=Path, default=Path("mixsynth-demo"), metavar="DIR", help="default: ./%(default)s")
    parser.add_argument("--hard", action="store_true", help="a harder clip: small people who cross")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_stream_arguments(parser)
    parser.set_defaults(
        max_people=None, format=("jsonl", "csv", "npz"), overlay=True, plot=True, write_forecast=False, view="none"
    )


def main(args: argparse.Namespace) -> int:
    """Run the job and print the summary."""
    clip = ASSETS / ("demo_hard.mp4" if args.hard else "demo.mp4")
    if not clip.is_file():
        raise SourceError(f"the bundled clip {clip} is missing: install the package again")
    args.max_people = args.max_people or (2 if args.hard else 1)
    print(summary(process(str(clip), args.out, args)))
    return 0


def summary(done: Done) -> str:
    """What came out and what it cost, on one screen."""
    stats, info = done.stats, done.info
    assert info is not None
    every = stats.frames / max(stats.estimator_calls, 1)
    seconds = [f"{stage} {spent:.2f}" for stage, spent in stats.seconds.items()]
    frames = f"{done.frames_with_people} of {stats.frames} frames"
    lines = [
        (
            "video",
            f"{Path(done.source).name}, {info.width} x {info.height}, {info.rate_hz:.4g} Hz, {stats.frames} frames",
        ),
        ("estimator", f"{stats.estimator_calls} calls, one in {every:.1f} frames"),
        (
            "network",
            f"{network_us(done.models):.0f} us a keyframe and person (image and world space, {backends(done.models)})",
        ),
        ("people", f"{len(done.people)}, in {frames}"),
        ("seconds", f"{done.seconds:.2f}: {', '.join(seconds)}, drawing and writing {done.output_seconds:.2f}"),
        ("rate", f"{stats.frames / done.seconds:.0f} frames/s, everything included"),
    ]
    lines += [("skipped", f"{count} {reason.replace('_', ' ')}") for reason, count in stats.counters.items() if count]
    if done.folder:
        lines.append(("results", str(done.folder.resolve())))
        lines += [("", f"{name:<12} {what}") for name, what in _WHAT.items() if (done.folder / name).is_file()]
    return "\n".join(f"{title:<10} {text}" for title, text in lines)


def network_us(models: Sequence[Model]) -> float:
    """Median microseconds of the network's call for one person, all spaces together."""
    import numpy as np

    total = 0.0
    for model in models:
        keyframes = np.zeros((1, model.config.num_keyframes, model.config.joint_dim), np.float32)
        spent = []
        for _ in range(_TIMED_CALLS):
            start = time.perf_counter()
            model(keyframes)
            spent.append(time.perf_counter() - start)
        total += statistics.median(spent)
    return 1e6 * total


def backends(models: Sequence[Model]) -> str:
    """The backends in use, each named once."""
    return " and ".join(sorted({model.backend for model in models}))

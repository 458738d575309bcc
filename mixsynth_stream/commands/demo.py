"""`demo`: the main job on a bundled clip with all its outputs, and a summary of what it cost."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.commands.options import (
    add_camera_arguments,
    add_source_arguments,
    add_stream_arguments,
    defaults_of,
    job_options,
)
from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.job.process import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixsynth_stream.job.process import JobResult
    from mixsynth_stream.weights import Model

_CONTENTS = {
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
        max_people=None,
        format=("jsonl", "csv", "npz"),
        overlay=True,
        plot=True,
        write_forecast=False,
        view="none",
        view_at=None,
        send=(),
        metrics=None,
    )
    parser.set_defaults(**defaults_of(add_source_arguments, add_camera_arguments))


def main(args: argparse.Namespace) -> int:
    """Run the job and print the summary."""
    clip = ASSETS / ("demo_hard.mp4" if args.hard else "demo.mp4")
    if not clip.is_file():
        raise SourceError(f"the bundled clip {clip} is missing: install the package again")
    args.max_people = args.max_people or (2 if args.hard else 1)
    print(summary_table(process(str(clip), args.out, job_options(args))))
    return 0


def summary_table(result: JobResult) -> str:
    """The results and what they cost, on one screen."""
    stats, info = result.stats, result.info
    assert info is not None
    every = stats.frames / max(stats.estimator_calls, 1)
    stages = [f"{stage} {seconds:.2f}" for stage, seconds in stats.seconds.items()]
    frames = f"{result.frames_with_people} of {stats.frames} frames"
    size = f"{info.width} x {info.height}, {result.rate.hz or 0:.4g} Hz, {stats.frames} frames"
    network = f"{network_us(result.models):.0f} us a keyframe and person"
    lines = [
        ("video", f"{Path(result.source).name}, {size}"),
        ("estimator", f"{stats.estimator_calls} calls, one in {every:.1f} frames"),
        ("network", f"{network} (image and world space, {backends(result.models)})"),
        ("people", f"{len(result.people)}, in {frames}" if result.people else result.people_text),
        ("seconds", f"{result.seconds:.2f}: {', '.join(stages)}, drawing and writing {result.output_seconds:.2f}"),
        ("rate", f"{stats.frames / result.seconds:.0f} frames/s, everything included"),
    ]
    lines += [("skipped", f"{count} {reason.replace('_', ' ')}") for reason, count in stats.counters.items() if count]
    if result.folder:
        lines.append(("results", str(result.folder.resolve())))
        lines += [("", f"{name:<12} {text}") for name, text in _CONTENTS.items() if (result.folder / name).is_file()]
    return "\n".join(f"{title:<10} {shown(text)}" for title, text in lines)


def network_us(models: Sequence[Model]) -> float:
    """Median microseconds of a network's call for one person, summed over the spaces."""
    import numpy as np

    total = 0.0
    for model in models:
        keyframes = np.zeros((1, model.config.num_keyframes, model.config.joint_dim), np.float32)
        times = []
        for _ in range(_TIMED_CALLS):
            start = time.perf_counter()
            model(keyframes)
            times.append(time.perf_counter() - start)
        total += statistics.median(times)
    return 1e6 * total


def backends(models: Sequence[Model]) -> str:
    """The backends in use, each named once."""
    return " and ".join(sorted({model.backend for model in models}))

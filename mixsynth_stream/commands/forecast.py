"""`forecast`: recorded poses in; at every pose the next moments with sigma out, and a table of how true they came."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.commands.options import at_least, landmark_skeleton, pictures_a_second, seconds
from mixsynth_stream.console import say, shown
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.presets import SHIPPED_INTERVALS

if TYPE_CHECKING:
    from mixsynth_stream.forecast.process import ForecastResult

_FORMATS = ("npz", "jsonl")
_HORIZON_S = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Forecast recorded poses, without their video. At every pose: the next 0.9 s, with sigma, from poses up to "
        "then only. And a table: mean error by how far ahead, beside holding the pose, constant velocity and a Kalman "
        "filter."
    )
    parser.add_argument(
        "poses",
        type=Path,
        metavar="POSES",
        help="poses.jsonl, .csv, .npz or .trc that run wrote, markers (.trc) named as Pose2Sim does, recorded "
        "estimates (.npz), .json (COCO results, AlphaPose, MMPose), or a folder of JSON files (OpenPose, Sports2D)",
    )
    group = parser.add_argument_group("recording")
    group.add_argument(
        "--skeleton",
        type=landmark_skeleton,
        metavar="NAME",
        help="joints of estimates that name none, such as COCO-17 (default: by their number)",
    )
    group.add_argument(
        "--rate",
        type=pictures_a_second,
        metavar="HZ",
        help="frames a second of JSON of other programs, which has no times (default: 30)",
    )
    group.add_argument(
        "--max-people",
        type=at_least(1),
        default=JobOptions.max_people,
        metavar="P",
        help="people to follow where a recording does not say who is who (default: %(default)s)",
    )
    group = parser.add_argument_group("forecast")
    group.add_argument(
        "--horizon", type=seconds, default=_HORIZON_S, metavar="S", help="seconds to forecast (default: %(default)s)"
    )
    group.add_argument(
        "--every",
        type=int,
        choices=SHIPPED_INTERVALS,
        help="the network for keyframes every N/30 s (default: 10 where that fits the poses' rate, or what fits best)",
    )
    group.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME",
        help="weights of the network, by name or file; twice for image and world space (default: those that ship)",
    )
    group.add_argument("--backend", default="auto", metavar="NAME", help="what runs the network (default: auto)")
    _add_outputs(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for poses.npz, which holds the forecasts, and plot.png (default: JSON lines to standard output, "
        "unless it is a terminal)",
    )
    group.add_argument("--format", type=_formats, metavar="F,F", help="some of npz, jsonl (default: npz)")
    group.add_argument("--json", type=Path, metavar="FILE", help="write the rows of the table; .gz is packed")
    group.add_argument("--quiet", action="store_true", help="no progress and no table")


def main(args: argparse.Namespace) -> int:
    """Forecast, write what was asked for, and print the table."""
    if args.out is None and args.format not in (None, ("jsonl",)):
        raise ValueError("only JSON lines go to standard output: give --out DIR for other formats")
    if len(args.weights) > 2:
        raise ValueError(f"--weights is for one image and one world network, found {len(args.weights)}")
    from mixsynth_stream.evaluate.report import methods_table, write_rows
    from mixsynth_stream.forecast.process import forecast_recording

    is_read = args.format is not None or not (sys.stdout is None or sys.stdout.isatty())
    formats = args.format or (_FORMATS[:1] if args.out is not None else ("jsonl",) if is_read else ())
    options = JobOptions(
        rate_hz=args.rate,
        every=args.every,
        horizon_s=args.horizon,
        max_people=args.max_people,
        skeleton=args.skeleton,
        weights=tuple(args.weights),
        backend=args.backend,
        formats=formats,
        plot=args.out is not None,
        progress=not args.quiet,
    )
    result = forecast_recording(args.poses, args.out, options)
    if args.json is not None:
        write_rows(args.json, [row for evaluation in result.evaluations for row in evaluation.rows])
    if not args.quiet:
        to = sys.stderr if formats and args.out is None else sys.stdout
        for evaluation in result.evaluations:
            text = methods_table(evaluation) if evaluation.rows else f"{evaluation.title}: none came true\n"
            print(text, file=to)
        say(shown(summary_line(args.poses, args.out, result)))
    return 0


def summary_line(poses: Path, folder: Path | None, result: ForecastResult) -> str:
    """One line about a recording that is complete."""
    people = f"{result.people} {'person' if result.people == 1 else 'people'}"
    spacing_s = result.recording.spacing_s
    rate = f"{1 / spacing_s:.3g} a second, " if 0 < spacing_s < float("inf") else ""
    text = (
        f"{poses}: {result.frames} frames with poses of {result.recording.skeleton.name}, {rate}{people}, in "
        f"{result.seconds:.1f} s by the networks for keyframes every {result.every}/30 s"
    )
    return text + (f"; results in {folder}" if folder is not None else "")


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in _FORMATS:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(_FORMATS)}, found {name!r}")
    return names

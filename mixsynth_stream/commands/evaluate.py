"""`evaluate`: the network against the simple methods, on motion capture clips and on videos.

Motion capture (evaluate/mocap.py): every file by itself, never pooled. Videos: evaluate/video.py. Test splits of
published recipes: evaluate/published.py.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.console import say
from mixsynth_stream.presets import PRESET_NAMES

if TYPE_CHECKING:
    from mixsynth_stream.evaluate.coverage import CoverageRow
    from mixsynth_stream.evaluate.scores import Evaluation

# Options of `evaluate` that mean nothing with a preset.
_FOREIGN = ("model", "video", "keep_dense", "train_data", "detail", "coverage", "plot", "frontier", "skeletons", "seed")
# Options that mean nothing where whole streams are compared.
_NOT_OF_FRONTIER = ("model", "data", "keep_dense", "train_data", "detail", "coverage", "skeletons", "seed")
# Options that mean nothing where skeletons are compared.
_NOT_OF_SKELETONS = ("video", "keep_dense", "train_data", "detail", "coverage", "plot")
DEFAULT_MODELS = ("image-n10", "world-n10")
# The metrics whose errors can be printed by joint group and by speed.
DETAILS = ("mpjpe", "p_mpjpe", "accel_error", "pck@0.2", "pck@0.1", "pck@0.05")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Errors of a network beside linear, PCHIP, Catmull-Rom and cubic interpolation, and beside holding the pose, "
        "constant and damped velocity and a Kalman filter: in the gaps, now, and 80-600 ms ahead. Image errors are in "
        "torso lengths, world errors in mm."
    )
    _add_inputs(parser)
    _add_outputs(parser)
    published = parser.add_argument_group("published recipes")
    published.add_argument("--preset", choices=PRESET_NAMES, help="score --weights on this recipe's test split")
    published.add_argument("--weights", metavar="FILE", help="what `train --preset` or `convert` wrote")
    body = "a SMPL body: MPJPE and MPVPE of rotations, too (docs/data.md)"
    published.add_argument("--smpl-model", type=Path, metavar="NPZ", help=body)
    parser.add_argument("--backend", default="auto", help="what runs the network (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated estimator and the bootstrap (default: 0)")


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    model = f"shipped weights by name, or weight files (default: {' '.join(DEFAULT_MODELS)})"
    parser.add_argument("--model", nargs="+", metavar="NAME", help=model)
    data = (
        "motion capture .npz (default: the checkout's two validation files, unless --video is given); "
        "with --preset a folder"
    )
    parser.add_argument("--data", nargs="*", metavar="FILE", help=data)
    video = "videos: the truth is then the estimator run on every frame; or what --keep-dense kept of them"
    parser.add_argument("--video", nargs="+", default=[], metavar="CLIP", help=video)
    keep_dense = "keep what the estimator said of the videos, for other runs"
    parser.add_argument("--keep-dense", type=Path, metavar="DIR", help=keep_dense)
    train_data = (
        "motion capture to fit ridge regression to "
        "(default: the checkout's fits to what the shipped weights learned from)"
    )
    parser.add_argument("--train-data", nargs="+", default=[], metavar="FILE", help=train_data)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    detail = (
        "print this metric of every method, and by joint group and by speed, too: "
        f"{', '.join(DETAILS)} or all (default: %(const)s)"
    )
    choices = (*DETAILS, "all")
    parser.add_argument("--detail", nargs="?", const="mpjpe", choices=choices, metavar="METRIC", help=detail)
    coverage = (
        "print how often the uncertainty's bounds hold, on every second clip: training sets their level by the others"
    )
    parser.add_argument("--coverage", action="store_true", help=coverage)
    skeletons = (
        "instead, on motion capture: what it costs that an estimator's skeleton lacks joints of the network, on the "
        "joints that it has, over the best simple method"
    )
    parser.add_argument("--skeletons", action="store_true", help=skeletons)
    json = "write all rows: every metric, by joint group and by speed, too; a name that ends in .gz is packed"
    parser.add_argument("--json", type=Path, metavar="FILE", help=json)
    plot = "draw error against horizon; with --video, against lag and compute, too"
    parser.add_argument("--plot", type=Path, metavar="PNG", help=plot)
    frontier = (
        "with --video, instead: error against MediaPipe on every frame and processor time a frame of its models and of "
        "our settings, in one table (and in the plot)"
    )
    parser.add_argument("--frontier", action="store_true", help=frontier)


def main(args: argparse.Namespace) -> int:
    """Evaluate, print the tables as they are ready, and write the files of the options."""
    _check_preset_options(args)
    check_outputs(args)
    if args.preset:
        return _published(args)
    if args.frontier:
        return _frontier(args)
    if args.skeletons:
        return _skeletons(args)
    from mixsynth_stream.data.mocap import data_files, load_clips
    from mixsynth_stream.errors import SourceError
    from mixsynth_stream.evaluate import report
    from mixsynth_stream.evaluate.coverage import coverage_summary, coverage_table
    from mixsynth_stream.evaluate.plot import save_error_plot
    from mixsynth_stream.evaluate.session import Session
    from mixsynth_stream.job.patterns import expand
    from mixsynth_stream.weights import load_model

    args.video = expand(args.video)
    check_arguments(args)
    models = [(str(name), load_model(name, args.backend)) for name in args.model or DEFAULT_MODELS]
    files = data_files(args.data, has_video=bool(args.video))
    for path in files:
        load_clips(path)  # a file that does not fit ends the run now, and not after the others' minutes
    session = Session(models, train_data=args.train_data, seed=args.seed, progress=say)
    details = DETAILS if args.detail == "all" else [args.detail] if args.detail else []
    results: list[Evaluation] = []
    by_clip: list[Evaluation] = []
    coverages: dict[str, list[list[CoverageRow]]] = {}
    for path, name, result in session.on_files(files):
        results.append(result)
        _print(report.methods_table(result, details) + report.detail_table(result, details))
        if args.coverage:
            coverages.setdefault(name, []).append(session.coverage(path, name))
            _print(coverage_table(coverages[name][-1]) + "\n\n")
    for by_file in coverages.values():
        _print(coverage_summary(by_file) + "\n\n")
    for result, each in session.on_videos(session.look(args.video, keep=args.keep_dense)):
        results.append(result)
        by_clip += each
        detail = report.detail_table(result, details)
        _print(report.methods_table(result, details) + detail + report.ratio_table(each))
    if not any(result.rows for result in results):
        raise SourceError("nothing could be judged; give videos in which one person is followed for that long")
    _print(report.ratio_summary(results))
    if args.json:
        report.write_rows(args.json, [row for result in [*results, *by_clip] for row in (*result.rows, *result.detail)])
    if args.plot:
        save_error_plot(args.plot, results, by_clip)
    return 0


def _print(table: str) -> None:
    """Print a table as soon as it is ready."""
    print(table, flush=True)


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse options that could only fail or do nothing later.

    Raises `ValueError`, `SourceError`, `ModelError` and `OutputError`.
    """
    from mixsynth_stream.errors import ModelError, SourceError
    from mixsynth_stream.files import make_folder

    if args.keep_dense is not None and not args.video:
        raise ValueError("--keep-dense keeps what the estimator said of videos; name them with --video")
    if args.data == [] and not args.video:
        raise ValueError("--data names no file; leave it out for the checkout's two files")
    if args.seed < 0:
        raise ValueError(f"--seed must be 0 or more, found {args.seed}")
    if args.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise ModelError("--plot needs matplotlib: pip install matplotlib")
    for name in args.video:
        if not Path(name).exists() and "://" not in name:
            raise SourceError(f"there is no file {name}: check the path")
    if args.keep_dense is not None:
        make_folder(args.keep_dense / "*.npz")


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse files that could not be written in the end. Raises `OutputError`."""
    from mixsynth_stream.errors import OutputError
    from mixsynth_stream.files import make_folder

    for path in (args.json, args.plot):
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
        make_folder(path)


def _check_preset_options(args: argparse.Namespace) -> None:
    """Refuse options that do not go together with a preset, or without one."""
    if args.preset is None:
        for name in ("weights", "smpl_model"):
            if getattr(args, name) is not None:
                raise ValueError(f"{_option(name)} goes with --preset only; without it --model names the networks")
        return
    foreign = [_option(name) for name in _FOREIGN if getattr(args, name)]
    if foreign:
        raise ValueError(
            f"{', '.join(foreign)} does not go with --preset, which takes --data, --weights, --smpl-model, --backend "
            "and --json"
        )
    if len(args.data or ()) != 1 or args.weights is None:
        raise ValueError(
            "--preset takes --data FOLDER (docs/data.md says what lies there) and --weights FILE, which "
            "`train --preset` or `convert` wrote"
        )
    if args.smpl_model is not None and "smpl" not in args.preset:
        raise ValueError(f"--smpl-model is for rotations of SMPL, and {args.preset} has none")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _frontier(args: argparse.Namespace) -> int:
    """Whole streams and MediaPipe on every frame, clip by clip."""
    from mixsynth_stream.bench.frontier import Effort, measure
    from mixsynth_stream.errors import SourceError
    from mixsynth_stream.job.patterns import expand

    foreign = [_option(name) for name in _NOT_OF_FRONTIER if getattr(args, name)]
    if foreign:
        raise ValueError(f"{', '.join(foreign)} does not go with --frontier, which takes --video, --json and --plot")
    clips = [Path(name) for name in expand(args.video)]
    if not clips:
        raise ValueError("--frontier compares streams of videos; name them with --video")
    for clip in clips:
        if clip.suffix == ".npz" or not clip.is_file():
            raise SourceError(
                f"--frontier needs the pictures of a video file, and {clip} is none: give the video itself"
            )
    measure(clips, truth=None, effort=Effort(), json=args.json, plot=args.plot)
    return 0


def _skeletons(args: argparse.Namespace) -> int:
    """A table of skeletons for each file and network."""
    from dataclasses import asdict

    from mixsynth_stream.data.mocap import data_files
    from mixsynth_stream.evaluate.skeletons import skeleton_rows, skeleton_table
    from mixsynth_stream.reports import write_json
    from mixsynth_stream.weights import load_model

    foreign = [_option(name) for name in _NOT_OF_SKELETONS if getattr(args, name)]
    if foreign:
        raise ValueError(f"{', '.join(foreign)} does not go with --skeletons, which takes --model, --data and --json")
    models = {str(name): load_model(name, args.backend) for name in args.model or DEFAULT_MODELS}
    records = []
    for path in data_files(args.data, has_video=False):
        for name, model in models.items():
            rows = skeleton_rows(path, model, seed=args.seed)
            _print(skeleton_table(f"{path.name}, {name}: error over the best simple method's", rows))
            records += [{"data": path.name, "model": name, **asdict(row)} for row in rows]
    if args.json:
        write_json(args.json, records)
    return 0


def _published(args: argparse.Namespace) -> int:
    """Print the table of a published recipe's test split, and write its rows where --json names a file."""
    from mixsynth_stream.evaluate import published, report

    say(f"evaluating {args.weights} on {args.preset}")
    folder = Path(args.data[0])
    rows, protocol = published.score_published(args.preset, folder, args.weights, args.backend, args.smpl_model)
    _print(published.published_table(rows, f"{args.preset}: {args.weights}{protocol}"))
    if args.json:
        report.write_rows(args.json, rows, published.questions(protocol))
    return 0

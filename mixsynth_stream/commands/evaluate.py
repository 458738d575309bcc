"""`evaluate`: the network against the simple methods, on motion capture clips and on videos.

Motion capture (evaluate/mocap.py): every file by itself, never pooled. Videos: evaluate/video.py. Test splits of
published recipes: evaluate/published.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.presets import PRESET_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixsynth_stream.evaluate.coverage import CoverageRow
    from mixsynth_stream.evaluate.ridge import Ridge
    from mixsynth_stream.evaluate.scores import Evaluation
    from mixsynth_stream.weights import Model

# Options of `evaluate` that mean nothing with a preset.
_FOREIGN = ("model", "video", "keep_dense", "train_data", "detail", "coverage", "plot", "seed")
DEFAULT_MODELS = ("image-n10", "world-n10")
# What errors by joint group and by speed can be printed of.
DETAILS = ("mpjpe", "p_mpjpe", "accel_error", "pck@0.2", "pck@0.1", "pck@0.05")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Errors of a network beside linear, PCHIP, Catmull-Rom and cubic interpolation, and beside holding the pose, "
        "constant and damped velocity and a Kalman filter: in the gaps, now, and 80-600 ms ahead. Image errors are in "
        "torso lengths, world errors in mm."
    )
    parser.add_argument("--model", nargs="+", metavar="NAME", help="shipped weights by name, or weight files "
                        f"(default: {' '.join(DEFAULT_MODELS)})")  # fmt: skip
    parser.add_argument("--data", nargs="*", metavar="FILE", help="motion capture .npz (default: the checkout's two "
                        "validation files, unless --video is given); with --preset a folder")  # fmt: skip
    parser.add_argument("--video", nargs="+", default=[], metavar="CLIP",
                        help="videos: the truth is then the estimator run on every frame; or what --keep-dense kept of "
                        "them")  # fmt: skip
    parser.add_argument("--keep-dense", type=Path, metavar="DIR",
                        help="keep what the estimator said of the videos, for other runs")  # fmt: skip
    parser.add_argument("--train-data", nargs="+", default=[], metavar="FILE",
                        help="motion capture to fit ridge regression to (default: the checkout's fits to what the "
                        "shipped weights learned from)")  # fmt: skip
    parser.add_argument("--detail", nargs="?", const="mpjpe", choices=(*DETAILS, "all"), metavar="METRIC",
                        help="print this metric of every method, and by joint group and by speed, too: "
                        f"{', '.join(DETAILS)} or all (default: %(const)s)")  # fmt: skip
    parser.add_argument("--coverage", action="store_true", help="print how often the uncertainty's bounds "
                        "hold, on every second clip: training sets their level by the others")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows: every metric, by joint "
                        "group and by speed, too; a name that ends in .gz is packed")  # fmt: skip
    parser.add_argument("--plot", type=Path, metavar="PNG",
                        help="draw error against horizon; with --video, against lag and compute, too")  # fmt: skip
    published = parser.add_argument_group("published recipes")
    published.add_argument("--preset", choices=PRESET_NAMES, help="score --weights on this recipe's test split")
    published.add_argument("--weights", metavar="FILE", help="what `train --preset` or `convert` wrote")
    published.add_argument("--smpl-model", type=Path, metavar="NPZ",
                           help="a SMPL body: MPJPE and MPVPE of rotations, too (docs/data.md)")  # fmt: skip
    parser.add_argument("--backend", default="auto", help="what runs the network (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated estimator and the bootstrap (default: 0)")


def main(args: argparse.Namespace) -> int:
    """Evaluate, print the tables as they are ready, write the files asked for."""
    _check_preset(args)
    check_outputs(args)
    if args.preset:
        return _published(args)
    from mixsynth_stream.commands.patterns import expand
    from mixsynth_stream.data.mocap import data_files, load_clips, unique_names
    from mixsynth_stream.errors import SourceError
    from mixsynth_stream.evaluate import report
    from mixsynth_stream.evaluate.coverage import coverage_summary, coverage_table
    from mixsynth_stream.evaluate.mocap import evaluate_mocap
    from mixsynth_stream.evaluate.plot import write_plot
    from mixsynth_stream.evaluate.video import dense_poses, evaluate_videos, save_dense, video_name
    from mixsynth_stream.weights import load_model

    args.video = expand(args.video)
    check_arguments(args)
    models = [(str(name), load_model(name, args.backend)) for name in args.model or DEFAULT_MODELS]
    files = data_files(args.data, has_video=bool(args.video))
    for path in files:
        load_clips(path)  # a file that does not fit ends the run now, and not after the others' minutes
    ridges = {name: _ridge(args.train_data, name, model) for name, model in models}
    details = DETAILS if args.detail == "all" else [args.detail] if args.detail else []
    results: list[Evaluation] = []
    bounds: dict[str, list[list[CoverageRow]]] = {}
    by_clip: list[Evaluation] = []
    for path, data in zip(files, unique_names(files, [path.name for path in files]), strict=True):
        for name, model in models:
            print(f"evaluating {name} on {data}", file=sys.stderr)
            results.append(evaluate_mocap(path, name, model, data=data, seed=args.seed, ridge=ridges[name]))
            report.write_text(report.methods_table(results[-1], details) + report.detail_table(results[-1], details))
            if args.coverage:
                bounds.setdefault(name, []).append(_coverage(path, name, model, args.seed))
                report.write_text(coverage_table(bounds[name][-1]) + "\n\n")
    for files_of_model in bounds.values():
        report.write_text(coverage_summary(files_of_model) + "\n\n")
    clips = []
    for path, clip in zip(args.video, unique_names(args.video, [video_name(path) for path in args.video]), strict=True):
        print(f"looking at every frame of {path}", file=sys.stderr)
        clips.append(dense_poses(path, name=clip))
        if args.keep_dense:
            save_dense(args.keep_dense, clips[-1])
    for name, model in models if clips else []:
        together, each = evaluate_videos(clips, name, model, seed=args.seed, ridge=ridges[name])
        parts = report.detail_table(together, details)
        report.write_text(report.methods_table(together, details) + parts + report.ratio_table(each))
        results.append(together)
        by_clip += each
    if not any(result.rows for result in results):
        raise SourceError("nothing could be judged; give videos in which one person is followed for that long")
    report.write_text(report.summary(results))
    if args.json:
        report.write_rows(args.json, [row for result in [*results, *by_clip] for row in (*result.rows, *result.detail)])
    if args.plot:
        write_plot(args.plot, results, by_clip)
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what would come to nothing in the end.

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


def _coverage(path: Path, name: str, model: Model, seed: int) -> list[CoverageRow]:
    from mixsynth_stream.data.mocap import load_clips
    from mixsynth_stream.evaluate.coverage import coverage, every_second

    return coverage(model, every_second(load_clips(path)), data=path.stem, name=name, seed=seed)


def _ridge(files: Sequence[str], name: str, model: Model) -> Ridge | None:
    """Fitted to `files`; without them the checkout's own fit, if there is one for such a network."""
    from mixsynth_stream.evaluate.baselines import tuned
    from mixsynth_stream.evaluate.ridge import fit_ridge, kept_ridge

    if not files:
        return kept_ridge(model)
    print(f"fitting ridge regression beside {name} on {', '.join(Path(path).name for path in files)}", file=sys.stderr)
    return fit_ridge(files, model, tuned(model.info.space, model.config.sample_interval).ridge_strength)


def _check_preset(args: argparse.Namespace) -> None:
    """Refuse options of `evaluate` that do not go together."""
    if args.preset is None:
        for name in ("weights", "smpl_model"):
            if getattr(args, name) is not None:
                raise ValueError(f"{_option(name)} goes with --preset only; without it --model names the networks")
        return
    foreign = [_option(name) for name in _FOREIGN if getattr(args, name)]
    if foreign:
        raise ValueError(f"{', '.join(foreign)} does not go with --preset, which takes --data, --weights, "
                         "--smpl-model, --backend and --json")  # fmt: skip
    if len(args.data or ()) != 1 or args.weights is None:
        raise ValueError("--preset takes --data FOLDER (docs/data.md says what lies there) and --weights FILE, which "
                         "`train --preset` or `convert` wrote")  # fmt: skip
    if args.smpl_model is not None and "smpl" not in args.preset:
        raise ValueError(f"--smpl-model is for rotations of SMPL, and {args.preset} has none")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _published(args: argparse.Namespace) -> int:
    """Print the table of a published recipe's test split, and write its rows where asked."""
    from mixsynth_stream.evaluate import published, report

    print(f"evaluating {args.weights} on {args.preset}", file=sys.stderr)
    rows, about = published.score_published(
        args.preset, Path(args.data[0]), args.weights, args.backend, args.smpl_model
    )
    report.write_text(published.published_table(rows, f"{args.preset}: {args.weights}{about}"))
    if args.json:
        report.write_rows(args.json, rows, published.questions(about))
    return 0

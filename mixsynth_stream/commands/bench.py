"""`bench`: how fast, and how true. The benchmarks themselves lie in bench/."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.presets import DEFAULT_EVERY

_HELP = {
    "pipeline": "frames a second of a stream against the estimator on every frame and against decoding alone",
    "truth": "2D error in the gaps against measured motion: the network, PCHIP, the estimator on every frame",
    "live": "error and smoothness of the pose shown now, beside simple methods and MediaPipe as fast as it goes",
    "encoder": "the native encoder against torch, its compilers and others on one core; or the CUDA encoder on a card",
    "kernels": "the Triton kernels against torch eager, torch.compile and CUDA graphs, on a CUDA device",
    "push": "what a keyframe costs a window, over the bare call of the encoder, for the weights that ship",
    "archive": "many short files by run, with and without --jobs, a second time, and with files that go wrong",
    "live-sources": "frames a second of several live sources in one process, with a stand-in for the estimator",
    "training": "a layer's passes and steps of `train`: native against torch, for the weights that ship and a preset",
}
# The module of a benchmark in bench/, where it has another name than the benchmark.
_MODULES = {"encoder": "encoder.run", "kernels": "kernels.run", "live": "live.run", "live-sources": "sources"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmarks and their options."""
    benches = parser.add_subparsers(dest="bench", required=True, metavar="{" + ",".join(_HELP) + "}")
    pipeline = _add_bench(benches, "pipeline")
    pipeline.add_argument("clip", nargs="*", metavar="CLIP", help="a video of one person (default: the bundled clip)")
    pipeline.add_argument(
        "--rounds", type=int, default=5, metavar="R", help="interleaved rounds (default: %(default)s)"
    )
    pipeline.add_argument(
        "--frames",
        type=int,
        metavar="F",
        help="frames a round; a clip that is shorter is read again (default: 300, 10 000 with --memory)",
    )
    pipeline.add_argument(
        "--memory", action="store_true", help="instead of speed: memory after a tenth of the frames and after all"
    )
    _add_frontier(pipeline)
    truth = _add_truth(benches)
    for command in (pipeline, truth):
        command.add_argument(
            "--every",
            type=int,
            default=DEFAULT_EVERY,
            metavar="N",
            help="keyframe spacing in steps of 1/30 s (default: %(default)s)",
        )
        command.add_argument(
            "--model",
            default="full",
            help="lite, full, heavy or a .task file (default: full); on every frame it is the one with -official; "
            "`truth` also takes movenet-lightning, movenet-thunder and .onnx files",
        )
        command.add_argument(
            "--weights", nargs=2, metavar=("IMAGE", "WORLD"), help="networks to run (default: the shipped ones)"
        )
    _add_live(benches)
    _add_encoder(benches)
    push = _add_bench(benches, "push")
    push.add_argument("--rounds", type=int, default=500, metavar="R", help="keyframes (default: 500)")
    push.add_argument("--core", type=int, metavar="N", help="the core to run on (default: the last)")
    _add_kernels(benches)
    _add_archive(benches)
    _add_live_sources(benches)
    _add_training(benches)
    for command in benches.choices.values():
        command.add_argument("--json", type=Path, metavar="FILE", help="write the rows, with machine and versions")


def _add_frontier(pipeline: argparse.ArgumentParser) -> None:
    frontier = pipeline.add_argument_group("error and cost of every setting")
    text = (
        "instead: error and processor time a frame of MediaPipe's models on every frame and of our settings, in one "
        "table; against truth with --trc, else against MediaPipe on every frame"
    )
    frontier.add_argument("--frontier", action="store_true", help=text)
    frontier.add_argument("--plot", type=Path, metavar="PNG", help="draw the table of --frontier")
    frontier.add_argument("--phases", type=int, default=3, metavar="P", help="first frames of a stream (default: 3)")
    frontier.add_argument("--trc", type=Path, metavar="FILE", help="markers, one row a video frame (TRC)")
    frontier.add_argument("--calibration", type=Path, metavar="FILE", help="Pose2Sim calibration (TOML)")
    camera = "the calibration's camera (default: from the clip's name)"
    frontier.add_argument("--camera", metavar="NAME", help=camera)


def _add_truth(benches: Any) -> argparse.ArgumentParser:
    truth = _add_bench(benches, "truth")
    truth.add_argument("--video", required=True, type=Path, metavar="CLIP")
    truth.add_argument("--trc", required=True, type=Path, metavar="FILE", help="markers, one row a video frame (TRC)")
    truth.add_argument("--calibration", required=True, type=Path, metavar="FILE", help="Pose2Sim calibration (TOML)")
    truth.add_argument("--camera", metavar="NAME", help="the calibration's camera (default: from the clip's name)")
    truth.add_argument(
        "--glance",
        action="store_true",
        help="people are followed in the picture between keyframes",
    )
    return truth


def _add_live(benches: Any) -> None:
    live = _add_bench(benches, "live")
    live.add_argument("clip", nargs="*", metavar="CLIP", help="a video of one person (default: the bundled clip)")
    answer_help = "the simulated estimator answers so long after its frame (default: 50 100 200)"
    live.add_argument("--answer-ms", nargs="+", type=float, default=[50, 100, 200], metavar="MS", help=answer_help)
    live.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="R",
        help="rounds with MediaPipe itself; 0: none (default: %(default)s)",
    )


def _add_bench(benches: Any, name: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = benches.add_parser(name, help=_HELP[name], description=_HELP[name])
    return parser


def _add_encoder(benches: Any) -> None:
    encoder = _add_bench(benches, "encoder")
    encoder.add_argument("--case", nargs="+", metavar="NAME", help="networks (default: all published and shipped ones)")
    encoder.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="the native encoder or the CUDA one (default: cpu)"
    )
    encoder.add_argument("--batch", nargs="+", type=int, metavar="B", help="windows a call (1 64; on a card also 4096)")
    encoder.add_argument("--rounds", type=int, default=25, metavar="R", help="interleaved rounds (default: 25)")
    encoder.add_argument(
        "--contender", nargs="+", metavar="NAME", help="peers to compare with (default: all that are installed)"
    )
    encoder.add_argument("--core", type=int, metavar="N", help="the core to run on (default: the last)")
    encoder.add_argument("--plot", type=Path, metavar="FILE", help="write a plot (PNG)")
    encoder.add_argument(
        "--threads", nargs="+", type=int, metavar="N", help="instead of peers: the native encoder with so many threads"
    )
    encoder.add_argument("--seconds", type=float, metavar="S", help="on a card: no other case after so many seconds")
    encoder.add_argument(
        "--compile-s", type=float, metavar="S", help="on a card: no torch.compile after so many seconds"
    )


def _add_kernels(benches: Any) -> None:
    kernels = _add_bench(benches, "kernels")
    kernels.add_argument(
        "--case", nargs="+", metavar="NAME", help="networks or ops (default: all published and shipped networks)"
    )
    kernels.add_argument("--batch", nargs="+", type=int, metavar="B", help="windows a call (1 64 512 4096)")
    kernels.add_argument("--rounds", type=int, metavar="R", help="interleaved rounds (default: 25, 15 with --quick)")
    kernels.add_argument("--quick", action="store_true", help="a few networks at batch 4096 and 1, in minutes")
    kernels.add_argument(
        "--compile-s", type=float, metavar="S", help="seconds after which no other torch.compile is started"
    )
    kernels.add_argument("--plot", type=Path, metavar="FILE", help="write a plot (PNG)")


def _add_archive(benches: Any) -> None:
    archive = _add_bench(benches, "archive")
    archive.add_argument("clip", nargs="*", metavar="CLIP", help="videos to cut from (default: the two bundled ones)")
    archive.add_argument("--clips", type=int, default=24, metavar="N", help="how many files (default: %(default)s)")
    archive.add_argument("--rounds", type=int, default=1, metavar="R", help="interleaved rounds (default: %(default)s)")
    archive.add_argument(
        "--faults", action="store_true", help="also: a file that crashes its process, one that hangs, and garbage"
    )
    archive.add_argument("--ray", action="store_true", help="also: by a Ray on this machine, its start included")


def _add_live_sources(benches: Any) -> None:
    live = _add_bench(benches, "live-sources")
    live.add_argument("clip", nargs="?", metavar="CLIP", help="a video of one person (default: the bundled hard one)")
    live.add_argument(
        "--sources", nargs="+", type=int, default=[8, 16], metavar="S", help="how many at the same time (default: 8 16)"
    )
    live.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each number (default: %(default)g)")
    live.add_argument(
        "--estimator-ms", type=float, default=5.0, metavar="MS", help="that a look takes (default: %(default)g)"
    )
    live.add_argument("--no-glance", action="store_true", help="do not follow people in the picture between keyframes")


def _add_training(benches: Any) -> None:
    training = _add_bench(benches, "training")
    training.add_argument("--case", nargs="+", metavar="NAME", help="networks (default: all that ship, and a preset)")
    training.add_argument("--batch", type=int, metavar="B", help="windows a step (default: as `train` takes them)")
    training.add_argument(
        "--rounds", type=int, default=25, metavar="R", help="passes of a layer (default: %(default)s)"
    )
    seconds_help = "of `train` for each network and way; 0: layers only (default: %(default)s)"
    training.add_argument("--seconds", type=float, default=5, metavar="S", help=seconds_help)
    training.add_argument("--data", nargs="+", metavar="NPZ", help="clips to train on (default: the checkout's)")
    training.add_argument("--core", type=int, metavar="N", help="the core to run on (default: the last)")


def main(args: argparse.Namespace) -> int:
    """Run one benchmark; 1 where its correctness gate is red."""
    try:
        module = importlib.import_module(f"mixsynth_stream.bench.{_MODULES.get(args.bench, args.bench)}")
    except ModuleNotFoundError as error:
        raise ModelError(f"bench {args.bench} needs {error.name}: pip install 'mixsynth-stream[train]'") from error
    code: int = module.main(args)
    return code

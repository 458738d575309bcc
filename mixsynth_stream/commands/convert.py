"""`convert`: turn a published checkpoint into a weight file."""

from __future__ import annotations

import argparse
from pathlib import Path

from mixsynth_stream.console import say
from mixsynth_stream.convert import convert
from mixsynth_stream.presets import CONVERTED, PRESETS
from mixsynth_stream.spaces import SPACES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Turn a published checkpoint into a weight file. Give --preset for a published network, or --skeleton, "
        "--space, --rate-hz, --sample-interval and --normalisation. Only tensors and numbers are ever read."
    )
    parser.add_argument("checkpoint", type=Path, metavar="FILE", help="the .pth.tar to read")
    parser.add_argument("--out", type=Path, metavar="FILE", help="weight file to write (default: beside it)")
    parser.add_argument("--preset", choices=list(PRESETS), help="the published network that it is")
    parser.add_argument("--skeleton", choices=CONVERTED, help="its joints and their order")
    parser.add_argument(
        "--space",
        choices=list(SPACES),
        help="what a joint is: 2 numbers in the image, 3 in the world, or a rotation of 6",
    )
    parser.add_argument("--rate-hz", type=float, metavar="HZ", help="frames a second of its training data")
    parser.add_argument("--sample-interval", type=int, metavar="N", help="frames between keyframes")
    parser.add_argument(
        "--horizon", type=int, default=0, metavar="H", help="steps past the newest keyframe (default: 0)"
    )
    parser.add_argument("--normalisation", choices=("none", "root", "root_scale"), help="what its input is relative to")
    parser.add_argument("--data", metavar="TEXT", help="a note on the training data, kept in the file")
    parser.add_argument(
        "--licence",
        default="not stated in the checkpoint",
        metavar="TEXT",
        help="licence of the weights, kept in the file",
    )


def main(args: argparse.Namespace) -> int:
    """Convert, and describe the new file on standard error."""
    name = args.checkpoint.name.removesuffix(".tar").removesuffix(".pth").removesuffix(".pt")
    out: Path = args.out or args.checkpoint.with_name(f"{name}.safetensors")
    config, info = convert(
        args.checkpoint,
        out,
        preset=args.preset,
        skeleton=args.skeleton,
        space=args.space,
        rate_hz=args.rate_hz,
        sample_interval=args.sample_interval,
        horizon=args.horizon,
        normalisation=args.normalisation,
        data=args.data,
        licence=args.licence,
    )
    say(
        f"{out}: {info.skeleton} in {info.space} space at {info.rate_hz:g} Hz, a keyframe every "
        f"{config.sample_interval} frames, {config.num_keyframes} keyframes to {config.seq_len} poses, reduce factors "
        f"{config.reduce_token} and {config.reduce_channel}"
    )
    return 0

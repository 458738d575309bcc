"""`webcam`: follow the people before a camera, in a window or into files."""

from __future__ import annotations

import argparse

from mixsynth_stream.commands import run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `webcam`."""
    parser.add_argument(
        "--camera",
        default="0",
        metavar="N|NAME|PATH",
        help="the camera: its number, a part of its name, or its path (default: %(default)s; see info --cameras)",
    )
    run.add_camera_arguments(parser)
    run.add_stream_arguments(parser)
    run.add_output_arguments(parser)
    parser.set_defaults(view=None, **run.NO_SOURCE_OPTIONS)


def main(args: argparse.Namespace) -> int:
    """Run until q, Esc or Ctrl-C."""
    from mixsynth_stream.viewer.window import window_possible

    if args.view is None:
        # Without a display there is no window, and poses still go to files or to standard output.
        args.view = "window" if window_possible() else "none"
    args.sources = [f"webcam:{args.camera}"]
    return run.main(args)

"""`webcam`: follow the people before a camera, in a window or into files."""

from __future__ import annotations

import argparse

from mixsynth_stream.commands import options, run
from mixsynth_stream.commands.archive import add_archive_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `webcam`."""
    parser.add_argument(
        "--camera",
        default="0",
        metavar="N|NAME|PATH",
        help="the camera: its number, a part of its name, or its path (default: %(default)s; see info --cameras)",
    )
    options.add_camera_arguments(parser)
    options.add_stream_arguments(parser)
    options.add_output_arguments(parser)
    parser.set_defaults(view=None, **options.defaults_of(options.add_source_arguments, add_archive_arguments))


def main(args: argparse.Namespace) -> int:
    """Run until q, Esc or Ctrl-C."""
    if args.view is None:
        args.view = _default_view(args.view_at is not None)
    args.sources = [f"webcam:{args.camera}"]
    return run.main(args)


def _default_view(is_page: bool) -> str:
    """A window where there is a display, else a page. Without both, poses still go to files or to standard output."""
    from mixsynth_stream.console import say
    from mixsynth_stream.viewer.web.server import server_possible
    from mixsynth_stream.viewer.window import window_possible

    if window_possible() and not is_page:
        return "window"
    if server_possible() or is_page:
        return "web"
    say("there is no display for a window, and a page to watch needs: pip install 'mixsynth-stream[view]'")
    return "none"

"""`run`: sources through a Stream into sinks. `demo` and `webcam` do the same job with other defaults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixsynth_stream.console import say, shown
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import folders
from mixsynth_stream.job.patterns import expand
from mixsynth_stream.job.process import JobInterrupted, JobResult, process
from mixsynth_stream.pipeline.sources.media.names import is_picture, pictures_behind

# The options of `add_source_arguments`, for commands that do not have them.
NO_SOURCE_OPTIONS: dict[str, Any] = {"track": None, "spool": False, "live": False}
# ... and those of `add_camera_arguments`.
NO_CAMERA_OPTIONS: dict[str, Any] = {
    "rate": None,
    "size": None,
    "mirror": False,
    "wait": False,
    "timeout": JobOptions.timeout_s,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a video file, a quoted pattern ('*.mp4'), a folder or pattern of pictures ('*.png', img_%%04d.png), "
        "a URL (rtsp://, http://), webcam, webcam:1, webcam:NAME, - (standard input) or synthetic:",
    )
    add_source_arguments(parser)
    add_camera_arguments(parser)
    add_stream_arguments(parser)
    add_output_arguments(parser)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on how a source is read."""
    group = parser.add_argument_group("source")
    group.add_argument(
        "--track",
        type=_at_least(0),
        metavar="N",
        help="a video track, counted from 0 (default: the one that players show)",
    )
    group.add_argument(
        "--spool",
        action="store_true",
        help="copy a pipe or a file on a web server into a temporary file first: for an MP4 with its index at the end",
    )
    group.add_argument("--live", action="store_true", help="play files at their own speed, as if they were live")


def add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on cameras, and on streams and files that are taken for one."""
    group = parser.add_argument_group("camera")
    group.add_argument(
        "--size", type=_size, metavar="WxH", help="size of a camera's pictures, of those that info --cameras lists"
    )
    group.add_argument(
        "--rate",
        type=_rate,
        metavar="HZ",
        help="pictures a second, of a camera (default: its own) or of picture files (default: 30)",
    )
    group.add_argument(
        "--mirror", action="store_true", help="show pictures as a mirror does: left and right change places"
    )
    group.add_argument("--wait", action="store_true", help="wait for a camera or a stream that is not there yet")
    group.add_argument(
        "--timeout",
        type=_timeout,
        default=JobOptions.timeout_s,
        metavar="S",
        help="a camera or a stream that is silent for so many seconds is lost (default: %(default)g)",
    )


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on how motion is made, shared by `run`, `demo` and `webcam`."""
    group = parser.add_argument_group("motion")
    _add_keyframe_arguments(group)
    group.add_argument(
        "--lag",
        type=int,
        choices=(0, 1),
        help="1: each frame once, when the keyframe after it is known (default for files); "
        "0: each frame at once, and again when final (default for cameras)",
    )
    group.add_argument(
        "--horizon",
        type=_seconds,
        default=JobOptions.horizon_s,
        metavar="S",
        help="seconds to forecast (default: %(default)s)",
    )
    group.add_argument(
        "--max-people",
        type=_at_least(1),
        default=JobOptions.max_people,
        metavar="P",
        help="people to follow (default: %(default)s)",
    )
    group.add_argument(
        "--glance",
        choices=("auto", "on", "off"),
        default=JobOptions.glance,
        help="follow people in the picture between keyframes: better poses, about 1 ms a frame and person "
        "(default: auto, which is on for cameras and where pictures are drawn)",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="pose model: lite, full, heavy, these with -official (as published: the same numbers, slower), "
        "or a .task file (default: full)",
    )
    group.add_argument(
        "--eye",
        choices=("follow", "keyframe"),
        help="follow: look where each person is expected, and search now and then (default); "
        "keyframe: search the whole picture at each keyframe",
    )
    group.add_argument("--estimates", metavar="FILE", help="replay recorded estimates (.npz) instead of a pose model")
    group.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME",
        help="weights of the network, by name or file; twice for image and world space (default: those that ship)",
    )
    group.add_argument("--backend", default="auto", metavar="NAME", help="what runs the network (default: auto)")
    group.add_argument(
        "--no-cuts", action="store_true", help="follow people across scene cuts (default: ids end there)"
    )
    group.add_argument("--limit-frames", type=_at_least(1), metavar="F", help="stop after F frames")


def _add_keyframe_arguments(group: argparse._ArgumentGroup) -> None:
    """Options on when the estimator looks."""
    group.add_argument(
        "--every",
        type=_every,
        metavar="N|auto",
        help="a keyframe every N/30 s (default: 10, or as --weights says); auto: when the motion makes it worth a look "
        "(default for cameras)",
    )
    group.add_argument(
        "--budget",
        metavar="CALLS|PERCENT%%",
        help="for --every auto: estimator calls a second, 2 to 10 (default: 3 for files, 10 for live sources), "
        "or for live sources a share of a core such as 25%%",
    )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on where motion goes."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for results; several sources get a subfolder each (default: JSON lines to standard output)",
    )
    group.add_argument("--format", type=_formats, metavar="F,F", help="some of jsonl, csv, npz, trc (default: jsonl)")
    group.add_argument("--overlay", action="store_true", help="also write a video with the poses drawn on it")
    group.add_argument("--plot", action="store_true", help="also write a picture of the joints' trajectories")
    group.add_argument(
        "--write-forecast", action="store_true", help="write the forecast of every frame, not of keyframes only"
    )
    group.add_argument(
        "--view",
        choices=("window", "web", "none"),
        default="none",
        help="show the frames as they come: in a window, or in a page for a browser on this machine",
    )
    group.add_argument(
        "--view-at",
        type=_address,
        metavar="[HOST:]PORT",
        help="where the page of --view web is served (default: 127.0.0.1, port 8420 or a free one); "
        "beyond this machine it asks for a token, which its printed address has",
    )
    group.add_argument("--quiet", action="store_true", help="no progress and no summary")


def main(args: argparse.Namespace) -> int:
    """Process every source. After one that fails the next one begins; the error at the end counts the failures."""
    check(args)
    options = job_options(args)
    sources = expand(args.sources)
    check_sources(args, sources)
    failures = 0
    for source, folder in zip(sources, folders(sources, args.out), strict=True):
        try:
            result = process(source, folder, options)
        except SourceError as error:
            if len(sources) == 1:
                raise
            failures += 1
            say(f"mixsynth-stream: {shown(str(error))}")
            continue
        except (ModelError, OutputError) as error:
            rest = len(sources) - 1 - sources.index(source)
            if not rest:
                raise
            raise type(error)(f"{error} ({rest} sources after {source} were not started)") from error
        except JobInterrupted as stop:
            if not args.quiet:
                say(shown(summary_line(stop.result, options.formats)))
            raise
        if not args.quiet:
            say(shown(summary_line(result, options.formats)))
    if failures:
        raise SourceError(f"{failures} of {len(sources)} sources failed; the others are complete")
    return 0


def check_sources(args: argparse.Namespace, sources: Sequence[str]) -> None:
    """Refuse options for kinds of sources that are not among these."""
    from mixsynth_stream.pipeline.sources.live.cameras import is_camera

    has_camera = any(is_camera(name) for name in sources)
    has_pictures = any(is_picture(name) or pictures_behind(name) for name in sources)
    if args.rate is not None and not has_pictures and not has_camera:
        raise ValueError(
            "--rate is for cameras, and for pictures, which have no times, and no source is one: leave it out"
        )
    if args.size is not None and not has_camera:
        raise ValueError("--size is for cameras, which offer several sizes, and no source is a camera: leave it out")
    has_live = has_camera or args.live or any("://" in name for name in sources)
    for name, is_given in (("--mirror", args.mirror), ("--wait", args.wait)):
        if is_given and not has_live:
            raise ValueError(f"{name} is for cameras and live streams, and no source is one: leave it out")


def job_options(args: argparse.Namespace) -> JobOptions:
    """The options of `run`, `demo` and `webcam` as the job takes them."""
    return JobOptions(
        track=args.track,
        rate_hz=args.rate,
        spool=args.spool,
        size=args.size,
        mirror=args.mirror,
        wait=args.wait,
        live=args.live,
        timeout_s=args.timeout,
        every=args.every,
        budget=args.budget,
        lag=args.lag,
        horizon_s=args.horizon,
        max_people=args.max_people,
        glance=args.glance,
        pose_model=args.model,
        eye=args.eye,
        estimates=args.estimates,
        weights=tuple(args.weights),
        backend=args.backend,
        cuts=not args.no_cuts,
        limit_frames=args.limit_frames,
        formats=args.format or ("jsonl",),
        overlay=args.overlay,
        plot=args.plot,
        write_forecast=args.write_forecast,
        view=None if args.view == "none" else args.view,
        view_at=args.view_at,
        progress=not args.quiet,
    )


def summary_line(result: JobResult, formats: Sequence[str]) -> str:
    """One line about a source that is complete."""
    stats = result.stats
    rate = stats.frames / max(result.seconds, 1e-9)
    people = result.people_text + (", so there is no TRC file" if "trc" in formats and not result.people else "")
    text = (
        f"{result.source}: {stats.frames} frames in {result.seconds:.1f} s ({rate:.0f} frames/s), "
        f"{stats.estimator_calls} estimator calls, {people}"
    )
    live = [words for words in (str(stats.ledger), str(result.score or "")) if words]
    counts = [f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(stats.counters.items()) if count]
    return ", ".join([text, *live, *counts]) + (f"; results in {result.folder}" if result.folder else "")


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is opened."""
    if args.out is None and (args.overlay or args.plot or args.format not in (None, ("jsonl",))):
        raise ValueError(
            "only JSON lines go to standard output: give --out DIR for other formats, --overlay and --plot"
        )
    if args.estimates and args.model:
        raise ValueError("--estimates replays recorded poses and --model makes new ones: give one of the two")
    if args.budget is not None and args.every not in ("auto", None):
        raise ValueError("--budget is for --every auto, which chooses keyframes: give both, or leave --budget out")
    if args.every == "auto" and args.glance == "off":
        raise ValueError("--every auto needs the glance, which tells when to look: leave --glance off out")
    if args.view_at is not None and args.view != "web":
        raise ValueError(f"--view-at is for --view web, and the view is {args.view}: give both, or leave --view-at out")
    if len(args.weights) > 2:
        raise ValueError(f"--weights is for one image and one world network, found {len(args.weights)}")


def _every(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, or auto, found {text!r}")
    return int(text)


def _at_least(least: int) -> Any:
    def whole_number(text: str) -> int:
        if not text.lstrip("-").isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text!r}")
        return int(text)

    return whole_number


def _rate(text: str) -> float:
    try:
        rate_hz = float(text)
    except ValueError:
        rate_hz = 0.0
    if not 0 < rate_hz < float("inf"):
        raise argparse.ArgumentTypeError(f"expected pictures a second, above 0, found {text!r}")
    return rate_hz


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected a width and a height such as 1280x720, found {text!r}")
    return int(parts[0]), int(parts[1])


def _address(text: str) -> str:
    from mixsynth_stream.viewer.web.access import Address

    try:
        Address.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10:
        raise argparse.ArgumentTypeError(f"expected seconds in 0..10, found {text!r}")
    return seconds


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text!r}")
    return seconds


def _formats(text: str) -> tuple[str, ...]:
    from mixsynth_stream.export import FORMATS

    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(FORMATS)}, found {name!r}")
    return names

"""Options of `run`, `demo` and `webcam`: the groups, the values, and the job that they describe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.skeleton import LANDMARKS, named_skeleton


def defaults_of(*groups: Callable[[argparse.ArgumentParser], None]) -> dict[str, Any]:
    """What the options that these functions add are where the user gives none, also for commands without them."""
    parser = argparse.ArgumentParser(add_help=False)
    for add in groups:
        add(parser)
    return vars(parser.parse_args([]))


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on how a source is read."""
    group = parser.add_argument_group("source")
    group.add_argument(
        "--track",
        type=at_least(0),
        metavar="N",
        help="a video track, counted from 0 (default: the one that players show)",
    )
    group.add_argument(
        "--spool",
        action="store_true",
        help="copy a pipe or a file on a web server into a temporary file first: for an MP4 with its index at the end",
    )
    group.add_argument(
        "--live", action="store_true", help="play files and recordings at their own speed, files as if they were live"
    )


def add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on cameras, and on streams and files that are taken for one."""
    group = parser.add_argument_group("camera")
    group.add_argument(
        "--size", type=_size, metavar="WxH", help="size of a camera's pictures, of those that info --cameras lists"
    )
    group.add_argument(
        "--rate",
        type=pictures_a_second,
        metavar="HZ",
        help="pictures a second, of a camera (default: its own) or of picture files (default: 30)",
    )
    group.add_argument(
        "--mirror", action="store_true", help="show pictures as a mirror does: left and right change places"
    )
    group.add_argument("--wait", action="store_true", help="wait for a camera or a stream that is not there yet")
    group.add_argument(
        "--timeout",
        type=positive_seconds,
        default=JobOptions.timeout_s,
        metavar="S",
        help="a camera, a stream or a server that is silent for so many seconds is lost (default: %(default)g)",
    )
    group.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep the packets of a live source, and what was made of them, in a new folder, and those of several in "
        "folders below it; run DIR replays them",
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
        type=seconds,
        default=JobOptions.horizon_s,
        metavar="S",
        help="seconds to forecast (default: %(default)s)",
    )
    group.add_argument(
        "--max-people",
        type=at_least(1),
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
    _add_estimator_arguments(group)
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
    group.add_argument("--limit-frames", type=at_least(1), metavar="F", help="stop after F frames")


def _add_estimator_arguments(group: argparse._ArgumentGroup) -> None:
    """Options on what looks at the keyframes."""
    group.add_argument(
        "--model",
        metavar="NAME",
        help="pose model: MediaPipe's lite, full, heavy, these with -official (as published: the same numbers, "
        "slower), or a .task file; movenet-lightning, movenet-thunder; or an .onnx file of yours: RTMPose, ViTPose and "
        "others for one person, or YOLO pose (default: full)",
    )
    group.add_argument(
        "--eye",
        choices=("follow", "keyframe"),
        help="follow: look where each person is expected, and search now and then (default); "
        "keyframe: search the whole picture at each keyframe",
    )
    group.add_argument(
        "--estimates",
        metavar="FILE|FOLDER",
        help="replay recorded estimates instead of a pose model: .npz, .json (COCO results, AlphaPose, MMPose), or a "
        "folder of JSON files (OpenPose, Sports2D)",
    )
    group.add_argument(
        "--skeleton",
        type=landmark_skeleton,
        metavar="NAME",
        help="joints of --estimates that name none, such as COCO-17, HALPE-26, BODY-25, H36M-17, WholeBody-133 "
        "(default: by their number)",
    )


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
        help="folder for results; several sources get a subfolder each (default: JSON lines to standard output, unless "
        "it is a terminal)",
    )
    group.add_argument(
        "--format", type=_formats, metavar="F,F", help="some of jsonl, csv, npz, trc, parquet (default: jsonl)"
    )
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
    group.add_argument(
        "--send",
        action="append",
        type=_target,
        default=[],
        metavar="ADDRESS",
        help="send the pose of now to programs: ws://[HOST:]PORT (a server of JSON for any program), vmc://HOST[:PORT] "
        "(avatars), vrchat://HOST[:PORT] (trackers); several times for several of them",
    )
    group.add_argument(
        "--metrics",
        type=_address,
        metavar="[HOST:]PORT",
        help="serve /metrics for Prometheus, and /health, for all sources",
    )
    group.add_argument("--quiet", action="store_true", help="no progress and no summary")


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
        record=args.record,
        every=args.every,
        budget=args.budget,
        lag=args.lag,
        horizon_s=args.horizon,
        max_people=args.max_people,
        glance=args.glance,
        pose_model=args.model,
        eye=args.eye,
        estimates=args.estimates,
        skeleton=args.skeleton,
        weights=tuple(args.weights),
        backend=args.backend,
        cuts=not args.no_cuts,
        limit_frames=args.limit_frames,
        formats=_formats_of(args),
        overlay=args.overlay,
        plot=args.plot,
        write_forecast=args.write_forecast,
        view=None if args.view == "none" else args.view,
        view_at=args.view_at,
        send=tuple(args.send),
        metrics_at=args.metrics,
        progress=not args.quiet,
    )


def _formats_of(args: argparse.Namespace) -> tuple[str, ...]:
    """The formats of the results. Nobody reads JSON lines from a terminal, unless they are asked for."""
    if args.format is not None or args.out is not None:
        return args.format or JobOptions.formats
    has_others = args.view != "none" or bool(args.send)
    is_read = not has_others if sys.stdout is None else not sys.stdout.isatty()
    return JobOptions.formats if is_read else ()


def _every(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, or auto, found {text!r}")
    return int(text)


def at_least(least: int) -> Any:
    """What reads an option's value: a whole number of at least `least`."""

    def whole_number(text: str) -> int:
        if not text.lstrip("-").isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text!r}")
        return int(text)

    return whole_number


def pictures_a_second(text: str) -> float:
    """An option's value: a rate."""
    try:
        rate_hz = float(text)
    except ValueError:
        rate_hz = 0.0
    if not 0 < rate_hz < float("inf"):
        raise argparse.ArgumentTypeError(f"expected pictures a second, above 0, found {text!r}")
    return rate_hz


def landmark_skeleton(text: str) -> str:
    """An option's value: the name of a skeleton of places, as its owners write it."""
    try:
        return named_skeleton(text, LANDMARKS).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected a width and a height such as 1280x720, found {text!r}")
    return int(parts[0]), int(parts[1])


def _address(text: str) -> str:
    from mixsynth_stream.viewer.web.access import Address

    return _accepted(text, Address.of)


def _target(text: str) -> str:
    from mixsynth_stream.send.targets import Target

    return _accepted(text, Target.of)


def _accepted(text: str, read: Callable[[str], object]) -> str:
    """The text, once what reads it later has taken it."""
    try:
        read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def seconds(text: str) -> float:
    """An option's value: seconds that a forecast may reach."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError(f"expected seconds in 0..10, found {text!r}")
    return value


def positive_seconds(text: str) -> float:
    """An option's value: seconds above 0."""
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

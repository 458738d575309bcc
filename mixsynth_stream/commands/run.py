"""`run`: sources through a Stream into sinks. `demo` and `webcam` do the same job with other defaults."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mixsynth_stream.commands.archive import (
    add_archive_arguments,
    all_sources,
    archive_sources,
    check_archive,
    is_archive,
    run_files,
)
from mixsynth_stream.commands.options import (
    add_camera_arguments,
    add_output_arguments,
    add_source_arguments,
    add_stream_arguments,
    job_options,
)
from mixsynth_stream.console import say, shown
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.job.kinds import live_sources
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import folders
from mixsynth_stream.job.patterns import expand
from mixsynth_stream.job.process import JobInterrupted, JobResult, process
from mixsynth_stream.job.summary import summary_line
from mixsynth_stream.pipeline.sources.media.names import is_picture, pictures_behind

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="a video file, a quoted pattern ('*.mp4'), a folder or pattern of pictures ('*.png', img_%%04d.png), "
        "a URL (rtsp://, http://), webcam, webcam:1, webcam:NAME, - (standard input), synthetic:, or the folder of a "
        "recording, or of several; several live ones are read at the same time",
    )
    parser.set_defaults(one_of={"SOURCE": "sources", "--sources-from FILE": "sources_from"})
    add_source_arguments(parser)
    add_camera_arguments(parser)
    add_stream_arguments(parser)
    add_output_arguments(parser)
    add_archive_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Process every source: files one after another, or several at a time, then live ones at the same time.

    One that fails holds up none of the others; the error at the end counts the failures.
    """
    check(args)
    check_archive(args)
    options = job_options(args)
    sources = expand(all_sources(args))
    check_sources(args, sources)
    if not options.formats and not options.view and not options.send:
        say("no poses are written, because standard output is a terminal: give --out DIR, or | for another program")
    live = _live(sources, options, args)
    files = archive_sources(args, sources, live, options)
    failures, total, known = run_files(args, files, options) if files else (0, 0, {})
    in_archive = frozenset(files)
    others = [source for source in sources if source not in in_archive]
    places = list(zip(others, folders(others, args.out, known), strict=True))
    together = _together(sources, live, places)
    failures += _run_in_turn([place for place in places if place not in together], options, is_alone=len(sources) == 1)
    failures += _run_together(together, options)
    if failures:
        count = len(others) + total
        rest = "; the others are complete" if failures < count else ""
        raise SourceError(f"{failures} of {count} sources failed{rest}")
    return 0


def _run_in_turn(places: Sequence[tuple[str, Path | None]], options: JobOptions, *, is_alone: bool) -> int:
    """Process sources one after the other. Returns how many failed; the only source of a run raises its error."""
    failures = 0
    for number, (source, folder) in enumerate(places, 1):
        try:
            result = process(source, folder, options)
        except SourceError as error:
            if is_alone:
                raise
            failures += 1
            say(f"mixsynth-stream: {shown(str(error))}")
            continue
        except (ModelError, OutputError) as error:
            rest = len(places) - number
            if not rest:
                raise
            raise type(error)(f"{error} ({rest} sources after {source} were not started)") from error
        except JobInterrupted as stop:
            if options.progress:
                say(shown(summary_line(stop.result, options.formats)))
            raise
        if options.progress:
            say(shown(summary_line(result, options.formats)))
    return failures


def _live(sources: Sequence[str], options: JobOptions, args: argparse.Namespace) -> list[bool]:
    """Of each source, whether it is live.

    `ValueError` where several live ones have no folder, and where one that is not live is to be recorded beside others.
    """
    live = live_sources(sources, options, asks=not is_archive(args))
    if len(sources) > 1 and options.record is not None and not all(live):
        raise ValueError(
            f"--record keeps live sources, and {sources[live.index(False)]} is none: run it by itself, or play it as "
            "live (--live)"
        )
    if sum(live) > 1 and args.out is None:
        raise ValueError(f"{sum(live)} live sources at the same time write into a folder each: give --out DIR")
    return live


def _together(
    sources: Sequence[str], live: Sequence[bool], places: Sequence[tuple[str, Path | None]]
) -> list[tuple[str, Path]]:
    """The live sources, each with its folder, where there are several."""
    if sum(live) < 2:
        return []
    names = {source for source, is_live in zip(sources, live, strict=True) if is_live}
    return [(source, folder) for source, folder in places if source in names and folder is not None]


def _run_together(places: Sequence[tuple[str, Path]], options: JobOptions) -> int:
    """Process live sources at the same time. Returns how many failed."""
    if not places:
        return 0
    from mixsynth_stream.job.together import JobsInterrupted, process_together

    errors: list[Exception] = []

    def tell(error: Exception) -> None:
        errors.append(error)
        say(f"mixsynth-stream: {shown(str(error))}")

    results: list[JobResult] = []
    try:
        sources, out = [source for source, _ in places], [folder for _, folder in places]
        results = process_together(sources, out, options, on_error=tell)
    except JobsInterrupted as stop:
        results = stop.results
        raise
    finally:
        for result in results if options.progress else ():
            say(shown(summary_line(result, options.formats)))
    outputs = [error for error in errors if isinstance(error, OutputError)]
    if outputs:
        raise outputs[0]
    return len(errors)


def check_sources(args: argparse.Namespace, sources: Sequence[str]) -> None:
    """Refuse options for kinds of sources that are not among these, and tell of what is likely a mistake."""
    from mixsynth_stream.pipeline.sources.live.cameras import is_camera

    if args.estimates and len(sources) > 1:
        logger.warning(
            "%s is replayed for each of the %d sources: if it is of one of them, run that one by itself",
            args.estimates,
            len(sources),
        )
    has_camera = any(is_camera(name) for name in sources)
    has_pictures = any(is_picture(name) or pictures_behind(name) for name in sources)
    if args.rate is not None and not has_pictures and not has_camera:
        raise ValueError(
            "--rate is for cameras, and for pictures, which have no times, and no source is one: leave it out"
        )
    if args.size is not None and not has_camera:
        raise ValueError("--size is for cameras, which offer several sizes, and no source is a camera: leave it out")
    has_live = has_camera or args.live or any("://" in name for name in sources)
    for name, is_given in (("--mirror", args.mirror), ("--wait", args.wait), ("--record", args.record)):
        if is_given and not has_live:
            raise ValueError(f"{name} is for cameras and live streams, and no source is one: leave it out")


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is opened."""
    if args.out is None and (args.overlay or args.plot or args.format not in (None, ("jsonl",))):
        raise ValueError(
            "only JSON lines go to standard output: give --out DIR for other formats, --overlay and --plot"
        )
    if "parquet" in (args.format or ()):
        from mixsynth_stream.export.parquet import require_pyarrow

        require_pyarrow()
    for name, value in (("--estimates", args.estimates), ("--model", args.model)):
        if value == "":
            raise ValueError(f"{name} is empty: give a file, or leave it out")
    if args.estimates and args.model:
        raise ValueError("--estimates replays recorded poses and --model makes new ones: give one of the two")
    if args.skeleton and not args.estimates:
        raise ValueError("--skeleton is for --estimates that name none: give both, or leave --skeleton out")
    if args.budget is not None and args.every not in ("auto", None):
        raise ValueError("--budget is for --every auto, which chooses keyframes: give both, or leave --budget out")
    if args.every == "auto" and args.glance == "off":
        raise ValueError("--every auto needs the glance, which tells when to look: leave --glance off out")
    if args.view_at is not None and args.view != "web":
        raise ValueError(f"--view-at is for --view web, and the view is {args.view}: give both, or leave --view-at out")
    if len(args.weights) > 2:
        raise ValueError(f"--weights is for one image and one world network, found {len(args.weights)}")

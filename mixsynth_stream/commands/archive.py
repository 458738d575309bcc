"""Options of `run` for archives: many files at a time, again where a run was cut off, in shares for schedulers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mixsynth_stream.commands.engine import AUTO, add_engine_arguments, check_engine, engine_of
from mixsynth_stream.commands.options import at_least, defaults_of, positive_seconds
from mixsynth_stream.job.options import JobOptions

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def add_archive_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on many files."""
    group = parser.add_argument_group("archives", "many files into --out DIR, with a manifest.jsonl beside the results")
    group.add_argument(
        "--jobs",
        type=_jobs,
        metavar="N|auto",
        help="process N files at a time, each in a process of its own, so that one that crashes, hangs or takes all "
        "memory costs that file only; auto: one for each core (default: 1, in this process)",
    )
    group.add_argument(
        "--sources-from",
        metavar="FILE",
        help="more sources: a list with one a line (- is standard input), or a .csv, .tsv or .jsonl",
    )
    group.add_argument("--column", metavar="NAME", help="the column of sources in such a table (default: source)")
    group.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="share I of N of the sources, counted from 1, for the I-th of N machines",
    )
    choice = group.add_mutually_exclusive_group()
    choice.add_argument(
        "--resume",
        action="store_true",
        help="leave out files whose results are complete (as always with several files)",
    )
    choice.add_argument("--again", action="store_true", help="make all results anew, also those that are complete")
    group.add_argument(
        "--timeout-per-file",
        type=positive_seconds,
        metavar="S",
        help="end a file that takes longer than S seconds (its own process: --jobs 1 where there is no --jobs)",
    )
    group.add_argument(
        "--memory-per-job",
        type=_bytes,
        metavar="SIZE",
        help="end a file whose process takes more memory, such as 800M or 2G (Linux; a process as with --jobs)",
    )
    group.add_argument(
        "--retries",
        type=at_least(0),
        metavar="N",
        help="try a file again so often that failed for a passing reason: a server, a file that was still being "
        "written (default: 1)",
    )
    add_engine_arguments(parser)


def is_archive(args: argparse.Namespace) -> bool:
    """Whether the user has given an option of archives."""
    return any(getattr(args, name) != value for name, value in defaults_of(add_archive_arguments).items())


def check_archive(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is opened."""
    if args.column is not None and args.sources_from is None:
        raise ValueError("--column is for --sources-from, which names a table: give both, or leave --column out")
    check_engine(args)
    if not is_archive(args):
        return
    if args.out is None:
        raise ValueError("--jobs, --shard, --resume, --again and others of archives write files: give --out DIR")
    for word, is_given in (("--view", args.view != "none"), ("--send", args.send), ("--metrics", args.metrics)):
        if is_given:
            raise ValueError(
                f"{word} is for sources that are watched as they come, and not for archives: leave {word} out, or "
                "--jobs and the other options of archives"
            )
    if args.memory_per_job is not None and not Path("/proc/self/statm").exists():
        raise ValueError("--memory-per-job looks into /proc, which this system does not have: leave it out")


def all_sources(args: argparse.Namespace) -> list[str]:
    """The sources that the user has named, also in a list."""
    from mixsynth_stream.archive.sources import sources_from

    return args.sources + ([] if args.sources_from is None else sources_from(args.sources_from, args.column))


def archive_sources(
    args: argparse.Namespace, sources: Sequence[str], live: Sequence[bool], options: JobOptions
) -> list[str]:
    """The sources of a manifest: files that go into a folder, where there are several, or an option is for archives."""
    is_watched = options.view is not None or options.send or options.metrics_at is not None
    if args.out is None or is_watched or not (is_archive(args) or len(sources) > 1):
        return []
    return [source for source, is_live in zip(sources, live, strict=True) if not is_live and source != "-"]


def run_files(
    args: argparse.Namespace, sources: Sequence[str], options: JobOptions
) -> tuple[int, int, Mapping[str, str]]:
    """Process files, and say what came of them. Returns how many failed, of how many, and the names of all folders."""
    from mixsynth_stream.archive.engine import one_by_one
    from mixsynth_stream.archive.limits import Limits
    from mixsynth_stream.archive.run import run_archive

    engine = engine_of(args)
    limits = Limits(
        timeout_s=args.timeout_per_file,
        memory_bytes=args.memory_per_job,
        retries=Limits.retries if args.retries is None else args.retries,
    )
    result = run_archive(
        sources,
        args.out,
        options if engine is None else replace(options, progress=False),
        engine=engine or one_by_one,
        limits=limits,
        again=args.again,
        shard=args.shard,
        is_quiet=args.quiet,
        has_display=engine is not None,
    )
    return len(result.failed), result.plan.sources, result.plan.folders


def _jobs(text: str) -> int | str:
    return text if text == AUTO else int(at_least(1)(text))


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 3/8, found {text!r}")
    return number, count


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not size:
        raise argparse.ArgumentTypeError(f"expected a size such as 800M or 2G, found {text!r}")
    return size

"""Options of `run` on what processes the files of an archive: this process, several, or Ray on several machines."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mixsynth_stream.commands.options import defaults_of

if TYPE_CHECKING:
    from mixsynth_stream.archive.engine import Engine

AUTO = "auto"


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Options on several machines."""
    group = parser.add_argument_group("several machines", "by Ray, from the extra [ray]; docs/archives.md says more")
    group.add_argument(
        "--engine",
        choices=("ray",),
        help="ray: the files as tasks of Ray, on the machines of a cluster or on this one; --jobs bounds how many at a "
        "time (default: as many as there are cores)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT|auto",
        help="the head of a cluster of Ray that is there already; auto: the one that this machine belongs to "
        "(default: a new one on this machine, for this run)",
    )
    group.add_argument(
        "--cpus-per-job",
        type=_share,
        metavar="C",
        help="cores that a file takes of a machine, such as 0.5 or 2 (default: 1)",
    )
    group.add_argument(
        "--gpus-per-job", type=_share, metavar="G", help="cards that a file takes, for --backend cuda (default: 0)"
    )
    group.add_argument(
        "--results-to",
        type=_store,
        metavar="URL",
        help="put results into a bucket, a folder a file, instead of --out DIR, which has the manifest: s3://, gs://, "
        "az:// and others of fsspec",
    )


def check_engine(args: argparse.Namespace) -> None:
    """Refuse options of Ray without Ray."""
    for name in defaults_of(add_engine_arguments):
        if getattr(args, name) is not None and args.engine is None:
            word = "--" + name.replace("_", "-")
            raise ValueError(f"{word} is for --engine ray: give both, or leave {word} out")


def engine_of(args: argparse.Namespace) -> Engine | None:
    """What processes the files; None for this process, one after the other."""
    if args.engine == "ray":
        from mixsynth_stream.archive.ray.cluster import Share, require_ray
        from mixsynth_stream.archive.ray.engine import RayEngine

        require_ray()
        given = {"cpus": args.cpus_per_job, "gpus": args.gpus_per_job}
        share = Share(**{name: part for name, part in given.items() if part is not None})
        return RayEngine(
            args.address, jobs=None if args.jobs == AUTO else args.jobs, share=share, results=args.results_to
        )
    from mixsynth_stream.archive.cores import usable_cores
    from mixsynth_stream.archive.crew import Crew

    has_limits = args.timeout_per_file is not None or args.memory_per_job is not None
    jobs = usable_cores() if args.jobs == AUTO else args.jobs or (1 if has_limits else None)
    return None if jobs is None else Crew(jobs)


def _store(text: str) -> str:
    from mixsynth_stream.pipeline.sources.media.stores import SCHEMES, is_stored

    if not is_stored(text):
        raise argparse.ArgumentTypeError(f"expected a URL with one of {', '.join(sorted(SCHEMES))}, found {text!r}")
    return text


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf") or (share > 1 and share != int(share)):
        raise argparse.ArgumentTypeError(f"expected a part of 1, or a whole number, found {text!r}")
    return share

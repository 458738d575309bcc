"""Outputs of a job: its folders and the sinks that lie in them."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.stream import Stream


def open_outputs(stream: Stream, folder: Path | None, args: argparse.Namespace) -> list[Any]:
    """The sinks that the options ask for."""
    from mixsynth_stream.export import MadeBy, open_sinks

    every = stream.models[0].config.sample_interval
    made_by = MadeBy(
        every=every,
        lag=stream.lag,
        horizon_s=args.horizon,
        estimator=estimator_name(stream, args),
        weights=tuple(args.weights) or tuple(f"{space}-n{every}" for space in ("image", "world")),
        backend=stream.models[0].backend,
        skeleton=stream.skeleton,
        sigma_tables=(stream.models[0].sigma_table, stream.models[-1].sigma_table),
    )
    sinks: list[Any] = []
    if args.view == "window":
        if made_by.skeleton != MadeBy.skeleton:
            raise ValueError(f"{made_by.skeleton} has no places in the picture to show: leave --view window out")
        from mixsynth_stream.viewer.window import Window

        sinks.append(Window())
    return sinks + open_sinks(
        folder,
        stream.info,
        formats=args.format or ("jsonl",),
        overlay=args.overlay,
        plot=args.plot,
        write_forecast=args.write_forecast,
        made_by=made_by,
    )


def estimator_name(stream: Stream, args: argparse.Namespace) -> str:
    """What found the people, for the header of result files."""
    recorded = args.estimates or (
        stream.info is not None and stream.info.source.endswith(".npz") and stream.info.source
    )
    if recorded:
        return f"recorded in {Path(recorded).name}"
    if args.model is None and stream.info is not None and stream.info.source.startswith("synthetic:"):
        return "synthetic"
    return f"MediaPipe {Path(args.model or 'full').name}"


def folders(sources: list[str], out: Path | None) -> list[Path | None]:
    """One source writes into `out` itself, several write into a subfolder each, named after the file."""
    if out is None or len(sources) == 1:
        return [out] * len(sources)
    taken: dict[Path, None] = {}
    for source in sources:
        stem = Path(source).stem or "source"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        taken[next(out / name for name in names if out / name not in taken)] = None
    return list(taken)

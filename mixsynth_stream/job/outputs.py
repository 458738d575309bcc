"""Outputs of a job: the sinks of its results, and a folder for each source."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.patterns import stem_of
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.spaces import LANDMARK_SPACES

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.stream import Stream


def open_outputs(stream: Stream, folder: Path | None, options: JobOptions) -> list[Any]:
    """The sinks of a stream, which the caller closes: a window, and files in `folder` or lines on standard output."""
    from mixsynth_stream.export import Settings, open_sinks

    every = stream.models[0].config.sample_interval
    settings = Settings(
        every=every,
        lag=stream.lag,
        horizon_s=options.horizon_s,
        estimator=estimator_name(stream, options),
        weights=options.weights or tuple(shipped_name(space, every) for space in LANDMARK_SPACES),
        backend=stream.models[0].backend,
        skeleton=stream.skeleton,
        sigma_tables=(stream.models[0].sigma_table, stream.models[-1].sigma_table),
    )
    sinks: list[Any] = []
    if options.view:
        if settings.skeleton != Settings.skeleton:
            raise ValueError(f"{settings.skeleton} has no places in the picture to show: leave --view window out")
        from mixsynth_stream.viewer.window import Window

        sinks.append(Window())
    return sinks + open_sinks(
        folder,
        stream.info,
        formats=options.formats,
        overlay=options.overlay,
        plot=options.plot,
        write_forecast=options.write_forecast,
        settings=settings,
    )


def estimator_name(stream: Stream, options: JobOptions) -> str:
    """The estimator's name, for the header of result files."""
    source = stream.info.source if stream.info is not None else ""
    recording = options.estimates or (source if source.endswith(".npz") else "")
    if recording:
        return f"recorded in {Path(recording).name}"
    if options.pose_model is None and source.startswith("synthetic:"):
        return "synthetic"
    return f"MediaPipe {Path(options.pose_model or 'full').name}"


def folders(sources: list[str], out: Path | None) -> list[Path | None]:
    """A folder for each source: `out` itself for one, and subfolders named after the files for several."""
    if out is None or len(sources) == 1:
        return [out] * len(sources)
    unique: dict[Path, None] = {}  # in order
    for source in sources:
        stem = stem_of(source)
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        unique[next(out / name for name in names if out / name not in unique)] = None
    return list(unique)

"""Export of results: one module a format. A sink takes Motions as they come and leaves a readable file at close().

Importing this package imports none of the formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from mixsynth_stream.export.header import Header, Settings

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import VideoInfo
    from mixsynth_stream.pipeline.motion import Motion

__all__ = ["FORMATS", "Header", "Settings", "Sink", "open_sinks"]

FORMATS = ("jsonl", "csv", "npz", "trc", "parquet")
# The formats of rotations; the others hold places in the picture or the room.
SMPL_FORMATS = ("jsonl", "csv", "npz", "parquet")


class Sink(Protocol):
    """A place for Motions to go. A file is written as `<name>.part`, complete after finish(), and named by close().

    The first three methods raise `OutputError` when the file cannot be written; what was written before stays readable.
    """

    paths: list[Path]  # the files that this sink writes

    def write(self, motion: Motion) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...

    def discard(self) -> None: ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_sinks(
    folder: Path | None,
    info: VideoInfo | None,
    *,
    formats: Sequence[str] = ("jsonl",),
    overlay: bool = False,
    plot: bool = False,
    write_forecast: bool = False,
    settings: Settings | None = None,
) -> list[Sink]:
    """The sinks of one source: `poses.FORMAT`, `overlay.mp4` and `plot.png` in `folder`, which need not exist.

    Without a folder, JSON lines go to standard output. Forecasts are written at keyframes, or with every frame if
    `write_forecast`. `settings` go into the header of the files that have one.
    Raises `ValueError` on outputs that do not go together, and `OutputError`.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"format must be some of {', '.join(FORMATS)}, found {', '.join(unknown)}")
    if folder is None and (overlay or plot or not set(formats) <= {"jsonl"}):
        raise ValueError("only JSON lines go to standard output; give a folder for everything else")
    header = Header.of(info, settings or Settings())
    places = [name for name in formats if name not in SMPL_FORMATS]
    places += [name for name, is_on in (("overlay", overlay), ("plot", plot)) if is_on]
    if header.is_smpl and places:
        raise ValueError(
            f"rotations of SMPL are written as {', '.join(SMPL_FORMATS)}; {', '.join(places)} would need places of the "
            "joints, which rotations alone do not give"
        )
    sinks: list[Sink] = []
    try:
        # Not `extend`: when a format cannot be opened, those before it must be in the list, to be closed.
        for name in dict.fromkeys(formats):
            sinks.append(_pose_sink(name, folder, header, write_forecast))  # noqa: PERF401
        if overlay and folder is not None:
            from mixsynth_stream.export.overlay import OverlaySink

            sinks.append(OverlaySink(folder / "overlay.mp4", header))
        if plot and folder is not None:
            from mixsynth_stream.export.plot import PlotSink

            sinks.append(PlotSink(folder / "plot.png", header))
    except BaseException:
        for sink in sinks:
            sink.discard()
        raise
    return sinks


def _pose_sink(name: str, folder: Path | None, header: Header, write_forecast: bool) -> Sink:
    from mixsynth_stream.export.csv_long import CsvSink
    from mixsynth_stream.export.jsonl import JsonlSink
    from mixsynth_stream.export.npz import NpzSink
    from mixsynth_stream.export.trc import TrcSink

    path = None if folder is None else folder / f"poses.{name}"
    if name == "jsonl" or path is None:
        # A reader of lines wants the poses of now; a file keeps only the final pose of each frame.
        return JsonlSink(path, header, write_forecast=write_forecast, final_only=path is not None)
    if name == "csv":
        return CsvSink(path, write_forecast=write_forecast, smpl=header.is_smpl)
    if name == "npz":
        return NpzSink(path, header, write_forecast=write_forecast)
    if name == "parquet":
        from mixsynth_stream.export.parquet import ParquetSink

        return ParquetSink(path, header, write_forecast=write_forecast)
    return TrcSink(path, header)

"""Parquet: one row a person in a frame, a list a column for the joints. docs/formats.md lists the columns.

A Parquet file can be read once its end is written. So rows are put into small files of their own in the folder
`<name>.part`, which readers of Parquet take as one table, and close() joins these to one file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.export.header import FORMAT, Header
from mixsynth_stream.export.rate import AverageRate
from mixsynth_stream.export.sink import SinkBase, forecast_to_write, in_stored_pixels, known_columns, stored_size
from mixsynth_stream.files import (
    PARQUET_JOINED,
    PARQUET_NEXT,
    make_folder,
    output_error,
    output_errors,
    part_path,
    remove_part,
)
from mixsynth_stream.pipeline.motion import Forecast, Motion

if TYPE_CHECKING:
    import pyarrow

# Rows of a small file: what a process that is killed may lose. One person at 30 Hz fills it in 8.5 seconds.
PART_ROWS = 256
# Rows of a group in the file: about 10 MB of numbers, which readers take at once.
GROUP_ROWS = 8192
# Coordinates repeat so rarely that a dictionary of them makes a file larger by 40 %.
_WRITING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["source", "person", "origin.list.element", "width", "height"],
}
_PART = re.compile(r"\d{6,}\.parquet")
_MAGIC, _TAIL_BYTES = b"PAR1", 8
_Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Column:
    """Name, type and meaning of a column; of a list column also the array of a sink and the axis that it takes."""

    name: str
    kind: str
    unit: str
    meaning: str
    array: str = ""
    axis: int | None = None
    space: str = ""


_SOURCE = _Column("source", "string", "", "the file or address")
_FRAME = _Column("frame", "int64", "", "number of the frame, from 0")
_TIME = _Column("time_s", "float64", "s", "the video's own time stamp")
_KEYFRAME = _Column("keyframe", "bool", "", "whether the estimator looked at this frame")
_PERSON = _Column("person", "int64", "", "number of the person, unique in a source")
_SIZE = (
    _Column("width", "int32", "px", "of the upright frame as the file stores it"),
    _Column("height", "int32", "px", "of the upright frame as the file stores it"),
)
_FORECAST_TIMES = (
    _Column("made_s", "float64", "s", "time stamp of the frame that the forecast was made at"),
    _Column("time_s", "float64", "s", "the moment that the forecast is about"),
)
_SCORE = _Column("score", "float32", "", "0 to 1, that the joint is in the picture and visible", "score")
_ORIGIN = _Column("origin", "int8", "", "where the pose comes from: a number of header.origins", "origin")
_LANDMARKS = (
    _Column("x_px", "float32", "px", "right, from the left edge of the upright picture", "pose_px", 0, "image"),
    _Column("y_px", "float32", "px", "down, from the top edge of the upright picture", "pose_px", 1, "image"),
    _Column("x_m", "float32", "m", "right, from the middle of the hips", "world_m", 0, "world"),
    _Column("y_m", "float32", "m", "down, from the middle of the hips", "world_m", 1, "world"),
    _Column("z_m", "float32", "m", "away from the camera, from the middle of the hips", "world_m", 2, "world"),
    _SCORE,
    _ORIGIN,
    _Column("sigma_px", "float32", "px", "so far the pose may be off", "sigma_px", None, "image"),
    _Column("sigma_m", "float32", "m", "so far the pose may be off", "sigma_m", None, "world"),
)
_ROTATIONS = (
    *(
        _Column(f"{axis}_rad", "float32", "rad", "axis-angle vector, relative to the joint before", "rotation_rad", n)
        for n, axis in enumerate("xyz")
    ),
    _SCORE,
    _ORIGIN,
)


def require_pyarrow() -> None:
    """`ModelError` where the library is missing."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ModelError(
            "--format parquet needs the package pyarrow, which is not installed: "
            "pip install 'mixsynth-stream[arrow]', or choose another format"
        )


def is_parquet_result(path: Path) -> bool:
    """Whether a file is a Parquet file with our header. Needs no library; raises OSError."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL_BYTES, 0))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or length > size - _TAIL_BYTES:
            return False
        file.seek(size - _TAIL_BYTES - length)
        return json.dumps({"format": FORMAT})[:-1].encode() in file.read(length)


def is_parquet_folder(folder: Path) -> bool:
    """Whether a folder `<name>.part` holds the small files of a ParquetSink and nothing else."""
    paths = [path for path in folder.iterdir() if path.name not in (PARQUET_NEXT, PARQUET_JOINED)]
    return all(_PART.fullmatch(path.name) and is_parquet_result(path) for path in paths)


class ParquetSink(SinkBase):
    """Writes NAME.parquet, and NAME_forecast.parquet from the first forecast on."""

    def __init__(self, path: Path, header: Header, *, write_forecast: bool = False) -> None:
        """Raises `OutputError`, and `ModelError` without the library."""
        super().__init__(path)
        require_pyarrow()
        self._header = header
        self._write_forecast = write_forecast
        self._rate = AverageRate(header.rate_hz)
        self._joints = _ROTATIONS if header.is_smpl else _LANDMARKS
        self._size = () if header.is_smpl else _SIZE
        self._poses = _Table(path, (_SOURCE, _FRAME, _TIME, _KEYFRAME, _PERSON, *self._joints, *self._size), header)
        self._forecasts: _Table | None = None

    def write(self, motion: Motion) -> None:
        """A row a person, if the Motion is final."""
        if not motion.final:
            return
        self._rate.add(motion)
        if not len(motion.ids):
            return
        poses = known_columns(in_stored_pixels(motion, motion.frame))
        self._poses.append(self._frame_rows(motion, len(motion.ids)) | {"person": motion.ids, **poses})
        forecast = forecast_to_write(motion, self._write_forecast)
        if forecast is not None:
            self._write_ahead(motion, forecast)

    def _frame_rows(self, motion: Motion, count: int) -> _Rows:
        """What is the same in all rows of a frame. The size of a Motion without a frame is not known: 0."""
        width, height = stored_size(motion) or (0, 0)
        values = {
            "frame": motion.index,
            "time_s": motion.time_s,
            "keyframe": motion.keyframe,
            "width": width,
            "height": height,
        }
        return {name: np.full(count, value) for name, value in values.items()}

    def _write_ahead(self, motion: Motion, forecast: Forecast) -> None:
        if self._forecasts is None:
            path = self.paths[0].with_name(f"{self.paths[0].stem}_forecast.parquet")
            columns = (_SOURCE, _FRAME, *_FORECAST_TIMES, _PERSON, *self._joints, *self._size)
            self._forecasts = _Table(path, columns, self._header)
            self.paths.append(path)
        people, steps = forecast.origin.shape[:2]
        times = {
            "made_s": np.full(people * steps, motion.time_s),
            "time_s": np.tile(forecast.time_s, people),
            "person": np.repeat(motion.ids, steps),
        }
        arrays = known_columns(forecast).items()
        poses = {name: values.reshape(people * steps, *values.shape[2:]) for name, values in arrays}
        self._forecasts.append(self._frame_rows(motion, people * steps) | times | poses)

    def _finish(self) -> None:
        header = self._header.with_rate(self._rate)
        try:
            self._poses.finish(header)
        finally:
            if self._forecasts is not None:
                self._forecasts.finish(header)

    def _give_name(self, path: Path) -> None:
        joined = part_path(path) / PARQUET_JOINED
        if joined.exists():
            with output_errors(path, f"it is kept in {joined.parent}"):
                os.replace(joined, path)
                remove_part(path)


class _Table:
    """A table that grows by small files in a folder, and becomes one file."""

    def __init__(self, path: Path, columns: tuple[_Column, ...], header: Header) -> None:
        self.path = path
        self._columns = columns
        self._joints = len(header.skeleton)
        self._source = header.as_json()["source"]
        self._schema = _schema(columns, header)
        self._folder = part_path(path)
        self._rows: list[_Rows] = []
        self._count = self._parts = 0
        make_folder(path)
        with output_errors(path):
            remove_part(path)
            self._folder.mkdir(exist_ok=True)

    def append(self, rows: _Rows) -> None:
        """Add rows, and write those that fill a small file."""
        self._rows.append(rows)
        self._count += len(rows["frame"])
        if self._count >= PART_ROWS:
            self._write_part()

    def finish(self, header: Header) -> None:
        """Join the small files to one, with the header as it is known at the end."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetWriter

        if self._count:
            self._write_part()
        joined = self._folder / PARQUET_JOINED
        schema = _schema(self._columns, header)
        try:
            with ParquetWriter(joined, schema, **_WRITING) as writer:
                for group in self._groups():
                    writer.write_table(group.replace_schema_metadata(schema.metadata), row_group_size=GROUP_ROWS)
        except (OSError, ArrowException) as error:
            with suppress(OSError):
                joined.unlink()
            raise _failure(self.path, error, f"its rows are kept in {self._folder}") from error

    def _groups(self) -> Iterator[pyarrow.Table]:
        """The rows in pieces of GROUP_ROWS, of which the last one may be smaller."""
        import pyarrow as pa
        from pyarrow.parquet import read_table

        rest = self._schema.empty_table()
        for number in range(self._parts):
            rest = pa.concat_tables([rest, read_table(self._part(number), partitioning=None)])
            while len(rest) >= GROUP_ROWS:
                yield rest[:GROUP_ROWS]
                rest = rest[GROUP_ROWS:]
        if len(rest):
            yield rest

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def _write_part(self) -> None:
        """Write what has come since the last small file, which appears whole. What fails stays for the end."""
        from pyarrow import ArrowException
        from pyarrow.parquet import write_table

        unnamed = self._folder / PARQUET_NEXT
        try:
            write_table(self._table(), unnamed, **_WRITING)
            os.replace(unnamed, self._part(self._parts))
        except (OSError, ArrowException) as error:
            with suppress(OSError):
                unnamed.unlink()
            raise _failure(self.path, error, f"everything before that is kept in {self._folder}") from error
        self._parts += 1
        self._rows, self._count = [], 0

    def _table(self) -> pyarrow.Table:
        import pyarrow as pa

        arrays = {name: np.concatenate([rows[name] for rows in self._rows]) for name in self._rows[0]}
        columns = []
        for column in self._columns:
            if column is _SOURCE:
                columns.append(pa.array([self._source] * self._count, pa.string()))
            elif column.array:
                values = arrays[column.array]
                columns.append(_lists(values if column.axis is None else values[..., column.axis], column.kind))
            else:
                values = arrays[column.name]
                columns.append(pa.array(values, column.kind, mask=values == 0 if column in _SIZE else None))
        return pa.table(columns, self._schema)


def _schema(columns: tuple[_Column, ...], header: Header) -> pyarrow.Schema:
    """Columns with units; the header, the joints and the columns as JSON for readers that show no units."""
    import pyarrow as pa

    fields = []
    facts: dict[str, dict[str, Any]] = {}
    for column in columns:
        kind = pa.type_for_alias(column.kind)
        words = {"meaning": column.meaning, "unit": column.unit, "space": column.space}
        facts[column.name] = {name: word for name, word in words.items() if word}
        fields.append(pa.field(column.name, pa.list_(kind) if column.array else kind, metadata=facts[column.name]))
    texts = {"header": header.as_json(), "joints": list(header.skeleton.joints), "columns": facts}
    return pa.schema(fields, metadata={name: json.dumps(text) for name, text in texts.items()})


def _lists(values: np.ndarray, kind: str) -> pyarrow.ListArray:  # [R, J]
    """A list a row; null where a number is not known."""
    import pyarrow as pa

    rows, joints = values.shape
    numbers = values.astype(kind).ravel()
    elements = pa.array(numbers, mask=~np.isfinite(values).ravel())
    return pa.ListArray.from_arrays(np.arange(0, (rows + 1) * joints, joints, dtype=np.int32), elements)


def _failure(path: Path, error: Exception, note: str) -> OutputError:
    """The sentence for an error of Arrow, some of which are of the operating system."""
    if isinstance(error, OSError):
        return output_error(path, error, note)
    return OutputError(f"{path} cannot be written: {error} ({note})")

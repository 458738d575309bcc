"""NPZ: plain arrays for numpy, one row a frame or one row a person in a frame. docs/formats.md lists them.

In an archive an array must lie in one piece, but all arrays grow at once. So each grows in a file of its own in the
folder `<name>.part`, and close() packs these files into the archive, one after the other. On a full disk the folder
stays, and np.load reads its files too.
"""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from mixsynth_stream.export.header import Header
from mixsynth_stream.export.rate import AverageRate
from mixsynth_stream.export.sink import SinkBase, forecast_to_write, in_stored_pixels, known_columns, stored_size
from mixsynth_stream.files import make_folder, output_error, output_errors, part_path, remove_part, zip_entry
from mixsynth_stream.pipeline.motion import Forecast, Motion
from mixsynth_stream.skeleton import BLAZEPOSE_33, SMPL_24, Skeleton

_HEADER_BYTES = 128
# Shape and type of a row, by the name of the array.
_Columns = dict[str, tuple[tuple[int, ...], str]]
_FRAME: _Columns = {"frame_index": ((), "<i8"), "frame_time_s": ((), "<f8"), "frame_keyframe": ((), "|b1")}
_FRAME_SIZE: _Columns = {"frame_width": ((), "<i4"), "frame_height": ((), "<i4")}
_SMPL: _Columns = {"rotation_rad": ((24, 3), "<f4"), "score": ((24,), "<f4"), "origin": ((24,), "|u1")}


def _landmarks(joints: int) -> _Columns:
    return {
        "pose_px": ((joints, 2), "<f4"),
        "world_m": ((joints, 3), "<f4"),
        "score": ((joints,), "<f4"),
        "origin": ((joints,), "|u1"),
        "sigma_px": ((joints,), "<f4"),
        "sigma_m": ((joints,), "<f4"),
    }


def _columns_by_table(skeleton: Skeleton) -> dict[str, _Columns]:
    """The arrays of each table in their order; all arrays of a table have the same number of rows."""
    is_smpl = skeleton == SMPL_24
    poses = _SMPL if is_smpl else _landmarks(len(skeleton))
    return {
        "frame": _FRAME if is_smpl else {**_FRAME, **_FRAME_SIZE},
        "person": {
            "index": ((), "<i8"),
            "time_s": ((), "<f8"),
            "id": ((), "<i8"),
            **poses,
        },
        "forecast": {
            "forecast_index": ((), "<i8"),
            "forecast_made_s": ((), "<f8"),
            "forecast_time_s": ((), "<f8"),
            "forecast_id": ((), "<i8"),
            **{f"forecast_{name}": column for name, column in poses.items()},
        },
    }


def is_array_folder(folder: Path) -> bool:
    """Whether a folder `<name>.part` holds the arrays of an NpzSink and nothing else."""
    tables = [table for skeleton in (BLAZEPOSE_33, SMPL_24) for table in _columns_by_table(skeleton).values()]
    names = {f"{name}.npy" for table in tables for name in table}
    return {entry.name for entry in folder.iterdir()} <= {*names, folder.name.removesuffix(".part")}


class NpzSink(SinkBase):
    """Writes poses as arrays that np.load opens without pickle."""

    def __init__(self, path: Path, header: Header, *, write_forecast: bool = False) -> None:
        super().__init__(path)
        self._path = path
        self._write_forecast = write_forecast
        self._header = header
        self._rate = AverageRate(header.rate_hz)
        self._folder = part_path(path)
        self._archive_part = self._folder / path.name
        make_folder(path)
        columns = _columns_by_table(header.skeleton)
        with output_errors(path):
            remove_part(path)
            self._folder.mkdir(exist_ok=True)
            try:
                self._tables = {name: _Table(self._folder, table) for name, table in columns.items()}
            except BaseException:
                remove_part(path)
                raise

    def write(self, motion: Motion) -> None:
        """One row a frame and one a person, if the Motion is final."""
        if not motion.final:
            return
        self._rate.add(motion)
        count = len(motion.ids)
        width, height = stored_size(motion) or (0, 0)
        frame = {
            "frame_index": [motion.index],
            "frame_time_s": [motion.time_s],
            "frame_keyframe": [motion.keyframe],
            "frame_width": [width],
            "frame_height": [height],
        }
        person = {
            "index": [motion.index] * count,
            "time_s": [motion.time_s] * count,
            "id": motion.ids,
            **known_columns(in_stored_pixels(motion, motion.frame)),
        }
        forecast = forecast_to_write(motion, self._write_forecast)
        with output_errors(self._path, f"everything before that is kept in {self._folder}"):
            self._tables["frame"].append(frame)
            if count:
                self._tables["person"].append(person)
            if forecast is not None:
                self._tables["forecast"].append(_forecast_rows(motion, forecast))

    def _finish(self) -> None:
        try:
            for table in self._tables.values():
                table.close()
            with zipfile.ZipFile(self._archive_part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, value in self._header_arrays().items():
                    with archive.open(zip_entry(f"{name}.npy"), "w") as member:
                        np.lib.format.write_array(member, np.array(value), allow_pickle=False)
                for name in (name for table in self._tables.values() for name in table.columns):
                    self._pack(archive, name)
        except OSError as error:
            with suppress(OSError):
                self._archive_part.unlink()
            raise output_error(self._path, error, f"its arrays are kept in {self._folder}") from error

    def _give_name(self, path: Path) -> None:
        if self._archive_part.exists():
            with output_errors(path, f"it is kept in {self._folder}"):
                os.replace(self._archive_part, path)
                remove_part(path)

    def _header_arrays(self) -> dict[str, object]:
        header = self._header.with_rate(self._rate)
        return {"header": json.dumps(header.as_json()), "joints": list(header.skeleton.joints)}

    def _pack(self, archive: zipfile.ZipFile, name: str) -> None:
        info = zip_entry(f"{name}.npy")
        with open(self._folder / f"{name}.npy", "rb") as array, archive.open(info, "w", force_zip64=True) as member:
            while block := array.read(1 << 20):
                member.write(block)


class _Table:
    """.npy files that grow together, some rows at a time."""

    def __init__(self, folder: Path, columns: _Columns) -> None:
        self.columns = columns
        self._rows = 0
        self._files = {name: open(folder / f"{name}.npy", "wb", buffering=0) for name in columns}  # noqa: SIM115
        self._write_headers()

    def append(self, rows: dict[str, object]) -> None:
        """Add rows to every column, or to none of them."""
        arrays = {
            name: np.asarray(rows[name], dtype).reshape(-1, *shape) for name, (shape, dtype) in self.columns.items()
        }
        try:
            for name, array in arrays.items():
                rest = memoryview(np.ascontiguousarray(array).tobytes())
                while rest:
                    rest = rest[self._files[name].write(rest) :]
        except OSError:
            with suppress(OSError):
                for name in self.columns:
                    self._files[name].truncate(self._end(name))
                    self._files[name].seek(self._end(name))
            raise
        self._rows += len(next(iter(arrays.values())))

    def close(self) -> None:
        """Write the number of rows into the headers."""
        self._write_headers()
        for file in self._files.values():
            file.close()

    def _end(self, name: str) -> int:
        shape, dtype = self.columns[name]
        return _HEADER_BYTES + self._rows * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize

    def _write_headers(self) -> None:
        for name, (shape, dtype) in self.columns.items():
            text = repr({"descr": dtype, "fortran_order": False, "shape": (self._rows, *shape)})
            # The format allows padding: headers of one length can be written over.
            text = text.ljust(_HEADER_BYTES - 11) + "\n"
            file = self._files[name]
            file.seek(0)
            file.write(b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little") + text.encode())
            file.seek(self._end(name))


def _forecast_rows(motion: Motion, forecast: Forecast) -> dict[str, object]:
    people, steps = forecast.origin.shape[:2]
    return {
        "forecast_index": [motion.index] * (people * steps),
        "forecast_made_s": [motion.time_s] * (people * steps),
        "forecast_time_s": np.tile(forecast.time_s, people),
        "forecast_id": np.repeat(motion.ids, steps),
        **{f"forecast_{name}": values for name, values in known_columns(forecast).items()},
    }

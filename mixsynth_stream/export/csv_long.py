"""CSV in long form: one row a joint. Forecasts go into a second table, so that each table has one meaning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from mixsynth_stream.export.header import ORIGIN_WORDS
from mixsynth_stream.export.sink import (
    SinkBase,
    forecast_to_write,
    in_stored_pixels,
    known_joints,
    known_rotations,
    stored_size,
)
from mixsynth_stream.files import PartFile
from mixsynth_stream.pipeline.motion import Forecast, Motion, Poses
from mixsynth_stream.rotations import axis_angle_from_6d

KEYS = ("index", "time_s", "id", "joint")
# `index` and `made_s` are those of the frame of the forecast, `time_s` is the time of the pose.
FORECAST_KEYS = ("index", "made_s", *KEYS[1:])
COLUMNS = (*KEYS, "x_px", "y_px", "x_m", "y_m", "z_m", "score", "origin", "sigma_px", "sigma_m", "width", "height")
SMPL_COLUMNS = (*KEYS, "x_rad", "y_rad", "z_rad", "score", "origin")
_UNKNOWN_ROTATION = ("", "", "", "", ORIGIN_WORDS[0])


class CsvSink(SinkBase):
    """Writes NAME.csv, and NAME_forecast.csv from the first forecast on. `smpl`: rotations instead of places."""

    def __init__(self, path: Path, *, write_forecast: bool = False, smpl: bool = False) -> None:
        super().__init__(path)
        self._write_forecast = write_forecast
        self._smpl = smpl
        self._columns = SMPL_COLUMNS if smpl else COLUMNS
        self._poses = PartFile(path, _csv_line(self._columns))
        self._forecasts: PartFile | None = None

    def write(self, motion: Motion) -> None:
        """A row a joint, if the Motion is final."""
        if not motion.final:
            return
        frame, size = (str(motion.index), f"{motion.time_s:.6f}"), self._size_cells(motion)
        poses = in_stored_pixels(motion, motion.frame)
        for p, person in enumerate(motion.ids):
            joints = _joint_cells(poses, (p,), motion.skeleton.joints)
            self._poses.append(b"".join(_csv_line((*frame, str(person), *joint, *size)) for joint in joints))
        forecast = forecast_to_write(motion, self._write_forecast)
        if forecast is not None:
            self._write_ahead(motion, forecast)

    def _size_cells(self, motion: Motion) -> tuple[str, ...]:
        """The last cells of a row: the stored size of its frame, where the table has pixels."""
        if self._smpl:
            return ()
        size = stored_size(motion)
        return ("", "") if size is None else (str(size[0]), str(size[1]))

    def _write_ahead(self, motion: Motion, forecast: Forecast) -> None:
        if self._forecasts is None:
            path = self.paths[0].with_name(f"{self.paths[0].stem}_forecast.csv")
            self._forecasts = PartFile(path, _csv_line((*FORECAST_KEYS, *self._columns[len(KEYS) :])))
            self.paths.append(path)
        frame, size = (str(motion.index), f"{motion.time_s:.6f}"), self._size_cells(motion)
        for p, person in enumerate(motion.ids):
            rows = []
            for f, time_s in enumerate(forecast.time_s):
                joints = _joint_cells(forecast, (p, f), motion.skeleton.joints)
                rows += [_csv_line((*frame, f"{time_s:.6f}", str(person), *joint, *size)) for joint in joints]
            self._forecasts.append(b"".join(rows))

    def _finish(self) -> None:
        try:
            self._poses.finish()
        finally:
            if self._forecasts is not None:
                self._forecasts.finish()


def _joint_cells(source: Poses, at: tuple[int, ...], names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The cells of the joint; those of an unknown one are empty, and its origin is `missing`."""
    scores, origin = source.scores[at].tolist(), source.origin[at].tolist()
    if source.rotations is not None:
        known = known_rotations(source.rotations[at], source.origin[at])
        vectors = axis_angle_from_6d(source.rotations[at]).tolist()
        for name, is_known, vector, score, word in zip(names, known, vectors, scores, origin, strict=True):
            numbers = [*(_cell(v, 4) for v in vector), _cell(score, 3), ORIGIN_WORDS[word]]
            yield (name, *(numbers if is_known else _UNKNOWN_ROTATION))
        return
    pose, world = source.poses[at], source.world[at]
    known = known_joints(pose, world, source.origin[at])
    no_sigma = [math.nan] * len(known)
    sigma_px, sigma_m = (no_sigma if s is None else s[at].tolist() for s in (source.sigma, source.world_sigma))
    columns = (names, known, pose.tolist(), world.tolist(), scores, origin)
    for name, is_known, pixels, metres, score, word, px, m in zip(*columns, sigma_px, sigma_m, strict=True):
        if is_known:
            numbers = [_cell(v, 2) for v in pixels] + [_cell(v, 4) for v in metres]
            yield (name, *numbers, _cell(score, 3), ORIGIN_WORDS[word], _cell(px, 2), _cell(m, 4))
        else:
            yield (name, "", "", "", "", "", "", ORIGIN_WORDS[0], "", "")


def _cell(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _csv_line(cells: tuple[str, ...]) -> bytes:
    return (",".join(cells) + "\n").encode()

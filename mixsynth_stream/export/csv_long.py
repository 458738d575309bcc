"""CSV in long form: one row a joint. Forecasts go into a second table, so that each table has one meaning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mixsynth_stream.export.atomic import PartFile
from mixsynth_stream.export.header import ORIGIN_WORDS
from mixsynth_stream.export.sink import SinkBase, known, wanted_forecast
from mixsynth_stream.pipeline.motion import Forecast, Motion
from mixsynth_stream.skeleton import BLAZEPOSE_33

COLUMNS = ("index", "time_s", "id", "joint", "x_px", "y_px", "x_m", "y_m", "z_m", "score", "origin", "sigma_px",
           "sigma_m")  # fmt: skip
# `index` and `made_s` are the frame that the forecast was made at, `time_s` is the moment that it is about.
FORECAST_COLUMNS = ("index", "made_s", *COLUMNS[1:])


class CsvSink(SinkBase):
    """Writes NAME.csv, and NAME_forecast.csv once there is a forecast."""

    def __init__(self, path: Path, *, write_forecast: bool = False) -> None:
        super().__init__(path)
        self._write_forecast = write_forecast
        self._poses = PartFile(path)
        self._forecasts: PartFile | None = None
        self._poses.append(_row(COLUMNS))

    def write(self, motion: Motion) -> None:
        """33 rows a person, if this Motion is final."""
        if not motion.final:
            return
        time = f"{motion.time_s:.6f}"
        for p, person in enumerate(motion.ids):
            sigmas = (None if s is None else s[p] for s in (motion.sigma, motion.world_sigma))
            joints = _joints(motion.poses[p], motion.world[p], motion.scores[p], motion.origin[p], *sigmas)
            self._poses.append(b"".join(_row((str(motion.index), time, str(person), *joint)) for joint in joints))
        forecast = wanted_forecast(motion, self._write_forecast)
        if forecast is not None:
            self._write_ahead(motion, forecast)

    def _write_ahead(self, motion: Motion, forecast: Forecast) -> None:
        if self._forecasts is None:
            path = self.paths[0].with_name(f"{self.paths[0].stem}_forecast.csv")
            self._forecasts = PartFile(path)
            self._forecasts.append(_row(FORECAST_COLUMNS))
            self.paths.append(path)
        made = (str(motion.index), f"{motion.time_s:.6f}")
        for p, person in enumerate(motion.ids):
            rows = []
            for f, time_s in enumerate(forecast.time_s):
                sigmas = (None if s is None else s[p, f] for s in (forecast.sigma, forecast.world_sigma))
                joints = _joints(
                    forecast.poses[p, f], forecast.world[p, f], forecast.scores[p, f], forecast.origin[p, f], *sigmas
                )
                rows += [_row((*made, f"{time_s:.6f}", str(person), *joint)) for joint in joints]
            self._forecasts.append(b"".join(rows))

    def _close(self) -> None:
        try:
            self._poses.close()
        finally:
            if self._forecasts is not None:
                self._forecasts.close()


def _joints(
    pose: np.ndarray,  # [33, 2]
    world: np.ndarray,  # [33, 3]
    scores: np.ndarray,  # [33]
    origin: np.ndarray,  # [33]
    sigma: np.ndarray | None,  # [33] pixels
    world_sigma: np.ndarray | None,  # [33] metres
) -> Iterator[tuple[str, ...]]:
    """The columns from `joint` on; a joint that is not known has empty cells and the origin `missing`."""
    there = known(pose, world, origin)
    off_px, off_m = ([math.nan] * len(there) if s is None else s.tolist() for s in (sigma, world_sigma))
    columns = (BLAZEPOSE_33.joints, there, pose.tolist(), world.tolist(), scores.tolist(), origin.tolist())
    for name, is_known, pixels, metres, score, source, px, m in zip(*columns, off_px, off_m, strict=True):
        if is_known:
            numbers = [_cell(v, 2) for v in pixels] + [_cell(v, 4) for v in metres]
            yield (name, *numbers, _cell(score, 3), ORIGIN_WORDS[source], _cell(px, 2), _cell(m, 4))
        else:
            yield (name, "", "", "", "", "", "", ORIGIN_WORDS[0], "", "")


def _cell(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _row(cells: tuple[str, ...]) -> bytes:
    return (",".join(cells) + "\n").encode()

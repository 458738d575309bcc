"""JSON lines: a header line, then one object a frame. docs/formats.md describes every field."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import OutputError
from mixsynth_stream.export.header import Header
from mixsynth_stream.export.rate import AverageRate
from mixsynth_stream.export.sink import (
    SinkBase,
    forecast_to_write,
    in_stored_pixels,
    known_joints,
    known_rotations,
    stored_size,
)
from mixsynth_stream.files import PartFile
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.motion import Forecast, Motion, Poses
from mixsynth_stream.rotations import axis_angle_from_6d

# Room for the digits of the average rate, which is known at the end.
_PADDING = 24


class JsonlSink(SinkBase):
    """Writes poses as JSON lines into a file, or to standard output when `path` is None.

    `final_only=False` also writes the provisional poses of a stream with lag 0; the field `final` tells them apart.
    """

    def __init__(
        self, path: Path | None, header: Header, *, write_forecast: bool = False, final_only: bool = True
    ) -> None:
        super().__init__(path)
        if path is None and sys.stdout is None:
            raise OutputError("standard output is closed, so that poses have nowhere to go: give a folder (--out DIR)")
        self._write_forecast = write_forecast
        self._final_only = final_only
        self._has_pixels = not header.is_smpl
        self._header = header
        self._rate = AverageRate(header.rate_hz)
        self._file: PartFile | None = None
        if path is None:
            self._put(header.as_json())
            return
        first = _line(header.as_json())
        self._header_size = len(first) + _PADDING
        self._file = PartFile(path, _padded(first, self._header_size).encode())

    def write(self, motion: Motion) -> None:
        """One line, if the Motion is final or all are written."""
        if self._final_only and not motion.final:
            return
        self._rate.add(motion)
        self._put(frame_record(motion, has_pixels=self._has_pixels, write_forecast=self._write_forecast))

    def tell(self, event: SourceEvent) -> None:
        """One line on what has happened to a live source."""
        self._put(event_record(event))

    def _finish(self) -> None:
        if self._file is None:
            return
        try:
            first = _line(self._header.with_rate(self._rate).as_json())
            self._file.rewrite(0, _padded(first, self._header_size).encode())
        finally:
            self._file.finish()

    def _put(self, record: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.append(_line(record).encode())
        else:
            # Flushed line by line, because a reader of a live stream wants each frame at once.
            sys.stdout.write(_line(record, ascii_only=True))
            sys.stdout.flush()


def frame_record(motion: Motion, *, has_pixels: bool, write_forecast: bool) -> dict[str, Any]:
    """The fields of a frame, as docs/formats.md lists them. With `has_pixels` its stored size is among them."""
    record: dict[str, Any] = {
        "index": motion.index,
        "time_s": round(motion.time_s, 6),
        "final": motion.final,
        "keyframe": motion.keyframe,
    }
    if has_pixels:
        record["width"], record["height"] = stored_size(motion) or (None, None)
    poses = in_stored_pixels(motion, motion.frame)
    record["people"] = [{"id": int(person), **_person_fields(poses, p)} for p, person in enumerate(motion.ids)]
    forecast = forecast_to_write(motion, write_forecast)
    if forecast is not None:
        record["forecast"] = _forecast_fields(forecast, motion.ids)
    return record


def event_record(event: SourceEvent) -> dict[str, Any]:
    """The fields of what has happened to a live source."""
    return {
        "event": event.kind,
        "time_s": round(event.time_s, 6),
        "before_index": event.index,
        "about": event.about,
    }


def _line(record: dict[str, Any], *, ascii_only: bool = False) -> str:
    """One line. Standard output has an alphabet of its own, and ASCII is part of all of them."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False, ensure_ascii=ascii_only) + "\n"


def _padded(line: str, size: int) -> str:
    """The line with spaces at its end, which JSON allows, so that it can be written over."""
    return line[:-1].ljust(size - 1) + "\n"


def _forecast_fields(forecast: Forecast, ids: np.ndarray) -> dict[str, Any]:
    return {
        "time_s": _json_numbers(forecast.time_s, 6),
        "people": [{"id": int(person), **_person_fields(forecast, p)} for p, person in enumerate(ids)],
    }


def _person_fields(source: Poses, p: int) -> dict[str, Any]:
    """The fields of person number p: one pose of a Motion, F poses of a Forecast."""
    pose, world, scores, origin = source.poses[p], source.world[p], source.scores[p], source.origin[p]
    if source.rotations is None:
        known = known_joints(pose, world, origin)
        fields = {"pose_px": _json_numbers(pose, 2, known), "world_m": _json_numbers(world, 4, known)}
    else:
        known = known_rotations(source.rotations[p], origin)
        fields = {"rotation_rad": _json_numbers(axis_angle_from_6d(source.rotations[p]), 4, known)}
    digits = (np.where(known, origin, 0) + ord("0")).astype(np.uint8)  # [..., J]
    origins = [row.tobytes().decode() for row in digits.reshape(-1, digits.shape[-1])]
    fields |= {"scores": _json_numbers(scores, 3, known), "origin": origins[0] if digits.ndim == 1 else origins}
    for name, sigma, decimals in (("sigma_px", source.sigma, 2), ("sigma_m", source.world_sigma, 4)):
        if sigma is not None:
            fields[name] = _json_numbers(sigma[p], decimals, known)
    return fields


def _json_numbers(values: np.ndarray, digits: int, known: np.ndarray | None = None) -> Any:
    """Rounded numbers in nested lists; None where a joint is unknown or a number is not finite."""
    rounded = np.round(np.asarray(values, np.float64), digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    missing = ~np.isfinite(rounded)
    if known is not None:
        missing |= ~(known if known.ndim == rounded.ndim else known[..., None])
    if not missing.any():
        return rounded.tolist()
    numbers = rounded.astype(object)
    numbers[missing] = None
    return numbers.tolist()

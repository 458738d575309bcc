"""JSON lines: a header line, then one object a frame. docs/formats.md describes every field."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.export.header import Header
from mixsynth_stream.export.sink import SinkBase, known, known_rotations, wanted_forecast
from mixsynth_stream.files import PartFile
from mixsynth_stream.pipeline.motion import Forecast, Motion
from mixsynth_stream.rotations import axis_angle_from_6d


class JsonlSink(SinkBase):
    """Writes poses as JSON lines into a file, or to standard output when `path` is None.

    `final_only=False` also writes the provisional poses of a stream with lag 0; each line says which it is.
    """

    def __init__(
        self, path: Path | None, header: Header, *, write_forecast: bool = False, final_only: bool = True
    ) -> None:
        super().__init__(path)
        self._file = None if path is None else PartFile(path)
        self._write_forecast = write_forecast
        self._final_only = final_only
        self._put(header.as_json())

    def write(self, motion: Motion) -> None:
        """One line, if this Motion is final."""
        if self._final_only and not motion.final:
            return
        line: dict[str, Any] = {
            "index": motion.index,
            "time_s": round(motion.time_s, 6),
            "final": motion.final,
            "keyframe": motion.keyframe,
            "people": [{"id": int(person), **_person(motion, p)} for p, person in enumerate(motion.ids)],
        }
        forecast = wanted_forecast(motion, self._write_forecast)
        if forecast is not None:
            line["forecast"] = _forecast(forecast, motion.ids)
        self._put(line)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        else:
            sys.stdout.flush()

    def _put(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, separators=(",", ":"), allow_nan=False, ensure_ascii=False) + "\n"
        if self._file is not None:
            self._file.append(text.encode())
        else:
            # Flushed line by line: whoever reads a live stream wants each frame when it is there.
            sys.stdout.write(text)
            sys.stdout.flush()


def _forecast(forecast: Forecast, ids: np.ndarray) -> dict[str, Any]:
    return {
        "time_s": _numbers(forecast.time_s, 6),
        "people": [{"id": int(person), **_person(forecast, p)} for p, person in enumerate(ids)],
    }


def _person(source: Motion | Forecast, p: int) -> dict[str, Any]:
    """The poses of person number p: one of a Motion, F of a Forecast."""
    pose, world, scores, origin = source.poses[p], source.world[p], source.scores[p], source.origin[p]
    if source.rotations is None:
        there = known(pose, world, origin)
        fields = {"pose_px": _numbers(pose, 2, there), "world_m": _numbers(world, 4, there)}
    else:
        there = known_rotations(source.rotations[p], origin)
        fields = {"rotation_rad": _numbers(axis_angle_from_6d(source.rotations[p]), 4, there)}
    digits = (np.where(there, origin, 0) + ord("0")).astype(np.uint8)  # [..., J]
    words = [row.tobytes().decode() for row in digits.reshape(-1, digits.shape[-1])]
    fields |= {"scores": _numbers(scores, 3, there), "origin": words[0] if digits.ndim == 1 else words}
    for name, sigma, decimals in (("sigma_px", source.sigma, 2), ("sigma_m", source.world_sigma, 4)):
        if sigma is not None:
            fields[name] = _numbers(sigma[p], decimals, there)
    return fields


def _numbers(values: np.ndarray, digits: int, there: np.ndarray | None = None) -> Any:
    """Rounded, as nested lists; None where a joint is not known or a number is not finite."""
    rounded = np.round(np.asarray(values, np.float64), digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    gone = ~np.isfinite(rounded)
    if there is not None:
        gone |= ~(there if there.ndim == rounded.ndim else there[..., None])
    if not gone.any():
        return rounded.tolist()
    boxed = rounded.astype(object)
    boxed[gone] = None
    return boxed.tolist()

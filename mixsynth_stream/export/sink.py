"""SinkBase: a sink that finishes its files and then names them; joints, forecasts and pixels that belong into one."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.errors import OutputError
from mixsynth_stream.files import output_errors, part_path, remove_part
from mixsynth_stream.pipeline.motion import Forecast, Motion, Origin, Poses, forecast_of
from mixsynth_stream.rotations import axis_angle_from_6d

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame


class SinkBase(ABC):
    """A sink that is a context manager. An error that leaves the block closes the file as the normal end does."""

    def __init__(self, path: Path | None) -> None:
        self.paths: list[Path] = [] if path is None else [path]
        self._is_finished = self._is_closed = False

    @abstractmethod
    def write(self, motion: Motion) -> None:
        """Take the next Motion."""

    @abstractmethod
    def _finish(self) -> None:
        """Complete each file under its name with `.part`."""

    def finish(self) -> None:
        """Complete each file under its name with `.part`; close() has little left to do then. Safe to call twice."""
        if not self._is_finished:
            self._is_finished = True
            self._finish()

    def close(self) -> None:
        """Finish the files and give them their names. Safe to call twice."""
        try:
            self.finish()
        finally:
            if not self._is_closed:
                self._is_closed = True
                for path in self.paths:
                    self._give_name(path)

    def discard(self) -> None:
        """Leave none of the files behind, instead of close()."""
        self._is_closed = True
        with suppress(OutputError):
            self.finish()
        for path in self.paths:
            remove_part(path)

    def _give_name(self, path: Path) -> None:
        if part_path(path).exists():
            with output_errors(path):
                os.replace(part_path(path), path)

    def __enter__(self) -> SinkBase:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def forecast_to_write(motion: Motion, every_frame: bool) -> Forecast | None:
    """The forecast of a Motion, if it belongs into a file: of a keyframe, or of any frame if `every_frame`.

    Its poses are in stored pixels of the Motion's own frame.
    """
    forecast = forecast_of(motion) if motion.keyframe or every_frame else None
    return None if forecast is None else replace(forecast, **in_stored_pixels(forecast, motion.frame).arrays())


def in_stored_pixels(poses: Poses, frame: Frame | None) -> Poses:
    """Poses of a frame in pixels as the file stores them; those without a frame as they are.

    Sigma is one number for both axes, so it takes the larger of their scales.
    """
    if frame is None or frame.stored_size == (frame.width, frame.height):
        return poses
    scale = np.divide(frame.stored_size, (frame.width, frame.height))  # [2]
    arrays = poses.arrays()
    arrays["poses"] = arrays["poses"] * scale
    if "sigma" in arrays:
        arrays["sigma"] = arrays["sigma"] * scale.max()
    return Poses(**arrays)


def stored_size(motion: Motion) -> tuple[int, int] | None:
    """Width and height of a Motion's frame as the file stores it; None for a Motion without a frame."""
    return None if motion.frame is None else motion.frame.stored_size


def known_rotations(rotations: np.ndarray, origin: np.ndarray) -> np.ndarray:  # [..., 24, 6], [..., 24] -> [..., 24]
    """Joints of SMPL that have an origin and numbers."""
    return np.asarray((np.asarray(origin) != Origin.MISSING) & np.isfinite(rotations).all(-1))


def known_joints(
    poses: np.ndarray,  # [..., 33, 2]
    world: np.ndarray,  # [..., 33, 3]
    origin: np.ndarray,  # [..., 33]
) -> np.ndarray:  # [..., 33] bool
    """Joints that have an origin and numbers: a file has none without the other."""
    finite = np.isfinite(poses).all(-1) | np.isfinite(world).all(-1)
    return np.asarray((np.asarray(origin) != Origin.MISSING) & finite)


def known_columns(source: Poses) -> dict[str, np.ndarray]:
    """The arrays of poses by the names of result files, [..., J] or [..., J, D]: NaN, and origin 0, where not known.

    `rotation_rad`, or `pose_px`, `world_m`, `sigma_px` and `sigma_m`; `score` and `origin`.
    """
    if source.rotations is not None:
        known = known_rotations(source.rotations, source.origin)
        return {
            "rotation_rad": np.where(known[..., None], axis_angle_from_6d(source.rotations), np.nan),
            "score": np.where(known, source.scores, np.nan),
            "origin": np.where(known, source.origin, 0),
        }
    known = known_joints(source.poses, source.world, source.origin)
    unknown = np.full(known.shape, np.nan)
    return {
        "pose_px": np.where(known[..., None], source.poses, np.nan),
        "world_m": np.where(known[..., None], source.world, np.nan),
        "score": np.where(known, source.scores, np.nan),
        "origin": np.where(known, source.origin, 0),
        "sigma_px": unknown if source.sigma is None else np.where(known, source.sigma, np.nan),
        "sigma_m": unknown if source.world_sigma is None else np.where(known, source.world_sigma, np.nan),
    }

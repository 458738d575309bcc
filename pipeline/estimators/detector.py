"""PersonDetector: MediaPipe's person detector alone. Landmarker: one of MediaPipe's graphs that eyes are made of."""

from __future__ import annotations

import contextlib
import importlib
import weakref
from math import atan2, hypot
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.memory import give_memory_back
from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, bundle_path, find_bundle
from mixsynth_stream.pipeline.estimators.mediapipe import (
    checked_rgb,
    close_landmarker,
    import_mediapipe,
    open_bundle,
    quiet_stderr,
)
from mixsynth_stream.pipeline.estimators.region import Region

# The side of the detector's input, in pixels.
_FIND_SIZE = 224
# It gives at most so many people of a picture.
_MOST_PEOPLE = 8
_WHOLE = np.ones(2)


class Landmarker:
    """A pose landmarker of MediaPipe's for single pictures, which is silent until it has seen somebody."""

    def __init__(self, bundle: bytes, path: Path, *, people: int) -> None:
        """`bundle` was made from the file `path`. `ModelError` where MediaPipe refuses it."""
        self._mediapipe: Any = import_mediapipe()
        self._graph = open_bundle(self._mediapipe, bundle, path, people=people)
        self._end = weakref.finalize(self, close_landmarker, self._graph)
        self._quiet = True  # a graph that has not seen anybody yet logs

    def detect(self, picture: np.ndarray) -> Any:  # [H, W, 3] uint8, C-contiguous
        """What MediaPipe gives for a picture."""
        image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, picture)
        with quiet_stderr() if self._quiet else contextlib.nullcontext():
            result = self._graph.detect(image)
        self._quiet &= not result.pose_landmarks
        return result

    def close(self) -> None:
        """Free the networks."""
        self._end()


class PersonDetector:
    """The regions of people, by the detector of a pose model of MediaPipe's. `ModelError` where it cannot be used."""

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        check_crop()
        self._graph = Landmarker(find_bundle(model).packed(), bundle_path(model), people=_MOST_PEOPLE)

    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:  # rgb: [H, W, 3] uint8
        """Regions as the detector gives them, the surest first."""
        height, width = checked_rgb(rgb).shape[:2]
        picture = np.ascontiguousarray(rgb) if part is None else part.crop(rgb, _FIND_SIZE)
        size = np.array([width, height]) if part is None else _WHOLE
        regions = []
        for landmarks in self._graph.detect(picture).pose_landmarks:
            # The constant landmark network gives the region's corners, from the upper left one clockwise.
            corners = np.array([(one.x, one.y) for one in landmarks[:4]]) * size
            corners = corners if part is None else part.in_picture(corners)
            x, y = corners.mean(axis=0)
            right_x, right_y = corners[1] - corners[0]
            regions.append(Region(float(x), float(y), hypot(right_x, right_y), atan2(right_y, right_x)))
        return regions

    def close(self) -> None:
        """Free the network; the detector cannot be used afterwards."""
        self._graph.close()
        give_memory_back()


def check_crop() -> None:
    """`ModelError` where no region of a picture can be cropped."""
    try:
        importlib.import_module("mixsynth_stream._C")
    except ImportError as error:
        raise ModelError(
            f"a region of a picture is cropped by the C++ extension, which is missing ({error}): build it with "
            "`pip install -e .`, or search each keyframe with MediaPipe (--eye keyframe)"
        ) from error

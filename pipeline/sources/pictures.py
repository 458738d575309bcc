"""FrameMaker: Frames of decoded pictures, turned upright. `frame_from_array`: a Frame of a user's own picture."""

from __future__ import annotations

from functools import partial
from typing import Any

import av
import numpy as np

from mixsynth_stream.pipeline.frame import Frame


class FrameMaker:
    """Makes Frames of decoded pictures. `rgb`, when it is read, converts the picture and turns it upright.

    The display matrix is read from the first picture, and again where size or rotation change, because reading it gives
    the picture a reference to itself: megabytes a frame would then wait for the garbage collector.
    """

    def __init__(self) -> None:
        self._geometry: tuple[float, ...] | None = None  # of the picture that the matrix is from
        self._matrix: list[int] | None = None  # a, b, _, c, d

    def __call__(self, picture: av.VideoFrame, index: int, time_s: float) -> Frame:
        geometry = (picture.width, picture.height, picture.rotation)
        if geometry != self._geometry:
            self._geometry = geometry
            matrix: Any = picture.side_data.get("DISPLAYMATRIX")
            self._matrix = None if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        if self._matrix is None:
            return Frame(index, time_s, picture.width, picture.height, partial(_rgb, picture))
        a, b, _, c, d = self._matrix
        sideways = abs(b) > abs(a)
        width, height = (picture.height, picture.width) if sideways else (picture.width, picture.height)
        return Frame(index, time_s, width, height, partial(_upright, picture, sideways, (a, b, c, d)))


def frame_from_array(rgb: np.ndarray, time_s: float, index: int) -> Frame:  # rgb: [H, W, 3] uint8
    """A Frame of a user's own picture. `ValueError` for anything but an rgb array of uint8."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        kind = f"{rgb.dtype} {list(rgb.shape)}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(f"frame {index} must be an rgb array [H, W, 3] of uint8, not {kind}")
    return Frame(index, float(time_s), rgb.shape[1], rgb.shape[0], partial(np.ascontiguousarray, rgb))


def _rgb(picture: av.VideoFrame) -> np.ndarray:
    return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))


def _upright(picture: av.VideoFrame, sideways: bool, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """The picture as it is shown. The display matrix maps (x, y) to (a x + c y, b x + d y): turns and mirror images."""
    a, b, c, d = matrix
    rgb = picture.to_ndarray(format="rgb24")
    if sideways:
        rgb, a, d = rgb.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

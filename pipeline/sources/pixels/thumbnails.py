"""Thumbnails: tiny grey copies of pictures, sampled without a conversion of the whole."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mixsynth_stream.pipeline.frame import THUMBNAIL_SIZE

# A pixel of a thumbnail is the mean of at least 2 x 4 samples, which takes most of the noise and grain out.
# There are fewer rows, because each row costs a way to the memory.
_ROWS, _COLUMNS = 2 * THUMBNAIL_SIZE, 4 * THUMBNAIL_SIZE
# Pixel formats whose first plane is brightness, a byte a pixel.
_GREY_FIRST = {"gray", "nv12", "nv21", *(f"yuv{j}{rest}p" for j in ("", "j") for rest in ("420", "422", "444"))}


class Thumbnails:
    """Thumbnails of the decoded pictures of one stream, of any pixel format and size, as they are stored."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()
        self._lock = threading.Lock()  # the scaler serves one picture at a time

    def of(self, picture: av.VideoFrame) -> np.ndarray:  # -> [32, 32] float32, 0..255
        """The thumbnail of a picture. Only the pixels of the sample are read."""
        if picture.format.name in _GREY_FIRST:
            return _thumbnail(_plane(picture)[: picture.height, : picture.width])
        with self._lock:
            grey = self._scaler.reformat(picture, _COLUMNS, _ROWS, "gray", interpolation="POINT", threads=1)
        return _thumbnail(_plane(grey)[:, :_COLUMNS])


def thumbnail_of_array(rgb: np.ndarray) -> np.ndarray:  # [H, W, 3] uint8 -> [32, 32] float32, 0..255
    """The thumbnail of a user's own picture: its green, which is most of what is seen as brightness."""
    return _thumbnail(rgb[:, :, 1])


def _plane(picture: av.VideoFrame) -> np.ndarray:  # -> [H, S] uint8, rows of S >= W bytes
    plane: Any = picture.planes[0]  # a buffer, which its type does not say
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def _thumbnail(grey: np.ndarray) -> np.ndarray:  # [H, W] uint8 -> [32, 32] float32
    y, x = (max(1, size // samples) for size, samples in zip(grey.shape, (_ROWS, _COLUMNS), strict=True))
    samples = grey[y // 2 :: y, x // 2 :: x].astype(np.float32)
    return np.asarray(_means(len(samples)) @ samples @ _means(samples.shape[1]).T)


@lru_cache
def _means(samples: int) -> np.ndarray:  # -> [32, S] float32
    """The matrix that takes S samples in a row to their means over 32 equal parts."""
    edges = np.arange(THUMBNAIL_SIZE + 1) * samples / THUMBNAIL_SIZE
    starts = np.arange(samples)
    shares = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return (np.maximum(shares, 0.0) * THUMBNAIL_SIZE / samples).astype(np.float32)

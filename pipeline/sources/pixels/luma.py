"""Luma: the brightness of pictures, read where the decoder put it."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import av
import numpy as np

from mixsynth_stream.pipeline.frame import Luma
from mixsynth_stream.pipeline.sources.pixels.converter import converted

# Pixel formats whose first plane is luma, a sample a pixel in the lowest bits, and the bits of a sample.
_CHROMA = ("420", "422", "440", "444")
_BITS = {"gray": 8, "nv12": 8, "nv21": 8, "nv16": 8, "nv24": 8, "p010le": 16, "p016le": 16, "gray16le": 16}
_BITS |= {f"yuv{kind}{chroma}p": 8 for kind in ("", "j", "a") for chroma in _CHROMA}
_BITS |= {
    f"yuv{kind}{chroma}p{bits}le": bits for kind in ("", "a") for chroma in _CHROMA for bits in (9, 10, 12, 14, 16)
}
_BITS |= {f"gray{bits}le": bits for bits in (9, 10, 12, 14)}


def luma_of(
    picture: av.VideoFrame,
    size: tuple[int, int],  # (width, height) in square samples, before it is turned
    matrix: tuple[int, int, int, int] | None,
) -> Luma:
    """The luma of a decoded picture; formats that have no plane of it are converted.

    The display matrix is that of `_upright_rgb`: (x, y) goes to (a x + c y, b x + d y).
    """
    bits = _BITS.get(picture.format.name, 0) if sys.byteorder == "little" else 0
    first: Any = picture.planes[0]  # a buffer, which its type does not say
    if not bits or first.line_size <= 0:
        bits, first = 8, converted(picture, pixel_format="gray").planes[0]
    sample = np.dtype(np.uint16 if bits > 8 else np.uint8)
    plane = np.frombuffer(first, sample).reshape(-1, first.line_size // sample.itemsize)
    turn, shift = _to_stored((picture.width, picture.height), size, matrix)
    return Luma(plane[: picture.height, : picture.width], bits, turn, shift)


def luma_of_array(rgb: np.ndarray) -> Luma:  # [H, W, 3] uint8
    """That of a user's picture, which is computed where it is needed."""
    if rgb.strides[2] != 1 or rgb.strides[1] != 3 or rgb.strides[0] < 3 * rgb.shape[1]:
        rgb = np.ascontiguousarray(rgb)
    return Luma(rgb)


@lru_cache(maxsize=16)
def _to_stored(
    stored: tuple[int, int],
    shown: tuple[int, int],
    matrix: tuple[int, int, int, int] | None,
) -> tuple[np.ndarray, np.ndarray]:  # [2, 2], [2]
    """Where a place of the upright picture lies in the stored one. Places of pixels are those of their middles."""
    turn, shift = np.eye(2), np.zeros(2)
    if matrix is not None:
        a, b, c, d = matrix
        sideways = abs(b) > abs(a)
        if sideways:
            a, d = c, b
        width, height = shown[::-1] if sideways else shown
        signs = np.array([-1.0 if a < 0 else 1.0, -1.0 if d < 0 else 1.0])
        turn = np.diag(signs)
        shift = np.where(signs < 0, [width - 1.0, height - 1.0], 0.0)
        if sideways:
            turn, shift = turn[::-1], shift[::-1]
    stretch = np.array(stored) / np.array(shown)
    return stretch[:, None] * turn, stretch * (shift + 0.5) - 0.5

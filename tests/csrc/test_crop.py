"""A crop in C++ is the bilinear sampling of its definition, at any angle, with the border repeated; bad arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mixsynth_stream import _C


def sampled(rgb: np.ndarray, x: float, y: float, right_x: float, right_y: float, size: int) -> np.ndarray:
    """The definition, in numpy: pixel (i, j) at (x + i right_x - j right_y, y + i right_y + j right_x)."""
    i, j = np.meshgrid(np.arange(size), np.arange(size))
    columns, rows = x + i * right_x - j * right_y, y + i * right_y + j * right_x
    left, above = np.floor(columns).astype(int), np.floor(rows).astype(int)
    share_x, share_y = (columns - left)[..., None], (rows - above)[..., None]

    def at(column: np.ndarray, row: np.ndarray) -> np.ndarray:
        inside = np.clip(row, 0, rgb.shape[0] - 1), np.clip(column, 0, rgb.shape[1] - 1)
        return rgb[inside].astype(float)

    top = at(left, above) * (1 - share_x) + at(left + 1, above) * share_x
    bottom = at(left, above + 1) * (1 - share_x) + at(left + 1, above + 1) * share_x
    return top * (1 - share_y) + bottom * share_y


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 121, 3), np.uint8)


@pytest.mark.parametrize(
    ("x", "y", "step", "angle"),
    [
        (10.0, 20.0, 1.0, 0.0),
        (10.25, 20.5, 0.7, 0.3),
        (60.0, 10.0, 2.3, 2.0),
        (-40.0, -30.0, 4.0, 0.0),  # the picture lies in the middle of the square
        (100.0, 80.0, 3.0, -1.0),  # most of the square lies beyond a corner
        (-5000.0, 40.0, 1.0, 0.1),  # the square misses the picture
    ],
)
def test_crop_is_bilinear_sampling(rgb: np.ndarray, x: float, y: float, step: float, angle: float):
    place: dict[str, Any] = {"x": x, "y": y, "right_x": step * math.cos(angle), "right_y": step * math.sin(angle)}
    square = _C.crop(rgb, size=33, **place)
    assert square.shape == (33, 33, 3) and square.dtype == np.uint8
    # Weights have 8 bits: 255 / 256 for each of two axes, and rounding.
    assert np.abs(square - sampled(rgb, size=33, **place)).max() <= 2.5


def test_crop_at_whole_pixels_copies_them(rgb: np.ndarray):
    assert (_C.crop(rgb, x=7, y=5, right_x=1, right_y=0, size=60) == rgb[5:65, 7:67]).all()


def test_crop_takes_padded_rows_and_slices(rgb: np.ndarray):
    part = rgb[3:70, 11:100]
    assert not part.flags.c_contiguous
    place: dict[str, Any] = {"x": 5, "y": 6, "right_x": 1.5, "right_y": 0.25, "size": 40}
    assert (_C.crop(part, **place) == _C.crop(np.ascontiguousarray(part), **place)).all()


def test_crop_reads_rows_from_the_bottom_up(rgb: np.ndarray):
    assert (_C.crop(rgb[::-1], x=0, y=0, right_x=1, right_y=0, size=90) == rgb[::-1, :90]).all()


def test_crop_of_a_single_pixel():
    pixel = np.full((1, 1, 3), [1, 2, 3], np.uint8)
    assert (_C.crop(pixel, x=-2, y=-2, right_x=0.5, right_y=0, size=9) == [1, 2, 3]).all()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"rgb": np.zeros((4, 4, 3), np.float32)}, TypeError, "rgb must be a numpy array of uint8"),
        ({"rgb": np.zeros((4, 4), np.uint8)}, ValueError, r"rgb must have shape \[H, W, 3\], found \[4, 4\]"),
        ({"rgb": np.zeros((4, 4, 4), np.uint8)}, ValueError, r"found \[4, 4, 4\]"),
        ({"rgb": np.zeros((0, 4, 3), np.uint8)}, ValueError, r"found \[0, 4, 3\]"),
        ({"rgb": np.zeros((4, 8, 3), np.uint8)[:, ::2]}, ValueError, "side by side"),
        ({"rgb": np.zeros((3, 4, 4), np.uint8).transpose(1, 2, 0)}, ValueError, "side by side"),
        ({"x": math.nan}, ValueError, "x must lie within"),
        ({"right_y": 1e9}, ValueError, "right_y must lie within"),
        ({"y": "far"}, TypeError, "y must be a number of pixels, found str 'far'"),
        ({"size": 0}, ValueError, r"size must lie in 1..4096, found 0"),
        ({"size": 2.5}, TypeError, "size must be a whole number"),
    ],
)
def test_crop_refuses_what_does_not_fit(change: dict[str, Any], error: type[Exception], text: str):
    place: dict[str, Any] = {
        "rgb": np.zeros((4, 4, 3), np.uint8),
        "x": 0,
        "y": 0,
        "right_x": 1,
        "right_y": 0,
        "size": 4,
    }
    with pytest.raises(error, match=text):
        _C.crop(**(place | change))

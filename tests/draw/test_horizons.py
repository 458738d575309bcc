"""The picture of errors by horizon: a line for each method, the higher the larger its error."""

from __future__ import annotations

import numpy as np

from mixsynth_stream.draw.canvas import Color
from mixsynth_stream.draw.horizons import Errors, horizons_picture

BLUE, RED = (30, 120, 210), (210, 40, 40)


def errors(name: str, color: Color, per_s: float) -> Errors:
    horizon_ms = np.arange(100.0, 1000.0, 100.0)
    return Errors(name=name, color=color, horizon_ms=horizon_ms, error=per_s * horizon_ms / 1000, width_px=3.0)


def rows_of(picture: np.ndarray, color: Color) -> np.ndarray:
    """The rows of pixels of exactly this colour, below the legend."""
    return np.flatnonzero((picture[120:] == color).all(axis=-1).any(axis=1))


def test_a_larger_error_stands_higher_and_each_panel_has_a_place():
    lines = [errors("network", BLUE, 0.5), errors("hold", RED, 1.0)]
    one = horizons_picture({"error, torso lengths": lines}, title="walk")
    assert rows_of(one, RED).min() < rows_of(one, BLUE).min() < rows_of(one, BLUE).max()
    two = horizons_picture({"error, torso lengths": lines, "error, mm": lines}, title="walk")
    columns = np.flatnonzero((two[120:] == RED).all(axis=-1).any(axis=0))
    assert columns.min() < two.shape[1] / 2 < columns.max()


def test_without_errors_the_picture_says_so():
    empty, blank = (horizons_picture({}, title=title) for title in ("walk", ""))
    middle = empty[300:340]
    assert (middle < 128).any() and (middle == blank[300:340]).all()

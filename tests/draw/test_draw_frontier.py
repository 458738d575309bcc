"""The picture of errors and costs."""

from __future__ import annotations

import numpy as np
import pytest

from mixsynth_stream.draw.canvas import Canvas
from mixsynth_stream.draw.chart import Axes, log_ticks
from mixsynth_stream.draw.frontier import Dots, frontier_picture


def test_ticks_of_a_logarithmic_axis() -> None:
    assert log_ticks(0.9, 60) == [1, 2, 5, 10, 20, 50]
    assert log_ticks(3, 4) == []


def test_equal_ratios_are_equal_distances() -> None:
    canvas = Canvas(np.zeros((10, 10, 3), np.uint8))
    axes = Axes(canvas, 100, 0, 300, 10, (1.0, 100.0), (0.0, 1.0), is_log=True)
    across = axes.points(np.array([1.0, 10.0, 100.0]), np.zeros(3))[:, 0]
    np.testing.assert_allclose(across, [100, 200, 300])


@pytest.mark.parametrize("is_dominated", [True, False])
def test_a_dot_is_filled_and_what_is_dominated_is_a_ring(is_dominated: bool) -> None:
    dots = Dots(
        name="one",
        color=(204, 0, 0),
        x=np.array([2.0, 20.0]),
        y=np.array([0.2, 0.1]),
        labels=["5", "10"],
        is_dominated=np.array([is_dominated, is_dominated]),
        joined=False,
    )
    rgb = frontier_picture({"now": [dots]}, title="clip", x_label="ms")
    assert rgb.dtype == np.uint8 and len(np.unique(rgb)) <= 16
    axes = Axes(Canvas(rgb), 110, 180, 1416, 628, (2 / 1.3, 28.0), (0.0, 0.216), is_log=True)
    for x, y in axes.points(dots.x, dots.y).round().astype(int):
        assert rgb[y, x].tolist() == ([255, 255, 255] if is_dominated else [204, 0, 0])
        assert rgb[y, x + 5].tolist() == [204, 0, 0]

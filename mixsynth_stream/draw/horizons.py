"""Horizons: panels of error against how far ahead a pose was forecast, with a line for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.draw.canvas import Canvas, Color
from mixsynth_stream.draw.chart import INK, LABEL_PX, TICK_PX, Axes
from mixsynth_stream.draw.font import text_width

_WIDTH, _HEIGHT = 1440, 640
_LEFT, _RIGHT, _GAP = 110, 24, 110
_TOP, _BOTTOM = 150, 72
_TITLE_PX, _SAMPLE_PX = 20, 30
_DOT_PX = 9.0


@dataclass(frozen=True, kw_only=True)
class Errors:
    """The errors of one method at M horizons."""

    name: str
    color: Color
    horizon_ms: np.ndarray  # [M] increasing
    error: np.ndarray  # [M]
    width_px: float


def horizons_picture(panels: Mapping[str, Sequence[Errors]], *, title: str) -> np.ndarray:
    """A picture [H, W, 3] uint8 with the panels, by the words of their y axes, side by side under one legend."""
    canvas = Canvas(np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8))
    canvas.text(_LEFT - 80, 34, title, _TITLE_PX, INK)
    x = float(_LEFT - 80)
    for line in {line.name: line for lines in panels.values() for line in lines}.values():
        canvas.strokes(np.array([[x, 84.0]]), np.array([[x + _SAMPLE_PX, 84.0]]), line.color, line.width_px)
        canvas.text(x + _SAMPLE_PX + 8, 84, line.name, TICK_PX, INK)
        x += _SAMPLE_PX + 8 + text_width(line.name, TICK_PX) + 30
    width = (_WIDTH - _LEFT - _RIGHT - _GAP * (len(panels) - 1)) // max(len(panels), 1)
    for number, (label, lines) in enumerate(panels.items()):
        left = _LEFT + number * (width + _GAP)
        y_range = 0.0, 1.08 * max(float(line.error.max()) for line in lines)
        x_range = 0.0, 1.04 * max(float(line.horizon_ms.max()) for line in lines)
        axes = Axes(canvas, left, _TOP, left + width, _HEIGHT - _BOTTOM, x_range, y_range)
        axes.frame("ms ahead", label)
        for line in lines:
            axes.line(line.horizon_ms, line.error, line.color, line.width_px)
            canvas.discs(axes.points(line.horizon_ms, line.error), line.color, _DOT_PX)
    if not panels:
        canvas.text(_WIDTH / 2, _HEIGHT / 2, "no forecast came true in this recording", LABEL_PX, INK, anchor="middle")
    return canvas.rgb

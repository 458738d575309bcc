"""Frontier: panels of error against cost, on a logarithmic axis, with a dot for each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.draw.canvas import Canvas, Casing, Color
from mixsynth_stream.draw.chart import INK, LABEL_PX, TICK_PX, Axes
from mixsynth_stream.draw.font import text_width

_WIDTH, _HEIGHT = 1440, 700
_LEFT, _RIGHT, _GAP = 110, 24, 84
_TOP, _BOTTOM = 180, 72
_TITLE_PX = 20
_DOT_PX, _LINE_PX = 13.0, 2.6
_NOTE = (
    "Numbers: steps of 1/30 s from keyframe to keyframe, or calls a second (/s).  "
    "Ring: another setting costs no more and errs no more."
)
_SHADE = 17  # levels of a colour that differ by less become one
_WHITE: Color = (255, 255, 255)
# Where a label may stand beside its dot: to the right or left, above or below, the first free place.
_PLACES = ((9, -12), (9, 12), (-9, -12), (-9, 12), (9, -26), (9, 26))


@dataclass(frozen=True, kw_only=True)
class Dots:
    """Settings of one family: N dots, joined by a line in order of cost if they are steps of one knob."""

    name: str
    color: Color
    x: np.ndarray  # [N] cost, above 0
    y: np.ndarray  # [N] error
    labels: Sequence[str]
    is_dominated: np.ndarray  # [N] bool
    joined: bool


def frontier_picture(panels: Mapping[str, Sequence[Dots]], *, title: str, x_label: str) -> np.ndarray:
    """A picture [H, W, 3] uint8 with the panels, by their titles, side by side under one legend.

    What is dominated is a ring. All panels have the same costs.
    """
    canvas = Canvas(np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8))
    canvas.text(_LEFT - 80, 34, title, _TITLE_PX, INK)
    families = {dots.name: dots for series in panels.values() for dots in series}
    _draw_key(canvas, list(families.values()))
    every = [dots for series in panels.values() for dots in series]
    x = np.concatenate([dots.x for dots in every])
    x_range = float(x.min()) / 1.3, float(x.max()) * 1.4
    width = (_WIDTH - _LEFT - _RIGHT - _GAP * (len(panels) - 1)) // len(panels)
    for number, (name, series) in enumerate(panels.items()):
        left = _LEFT + number * (width + _GAP)
        y_range = 0.0, 1.08 * max(float(dots.y.max()) for dots in series)
        axes = Axes(canvas, left, _TOP, left + width, _HEIGHT - _BOTTOM, x_range, y_range, is_log=True)
        axes.frame(x_label, "error, torso lengths" if not number else "")
        canvas.text(left + 8, _TOP - 18, name, LABEL_PX, INK)
        _draw_series(axes, series)
    # Few shades of grey at the edges make a small file.
    return (canvas.rgb + np.uint8(8) * (canvas.rgb < 247)) // _SHADE * _SHADE


def _draw_series(axes: Axes, series: Sequence[Dots]) -> None:
    """Lines first, so that no line crosses a dot; then dots, those that are dominated below the others."""
    for dots in series:
        if dots.joined:
            order = np.argsort(dots.x)
            axes.line(dots.x[order], dots.y[order], dots.color, _LINE_PX)
    for is_dominated in (True, False):
        for dots in series:
            rows = np.flatnonzero(dots.is_dominated == is_dominated)
            points = axes.points(dots.x[rows], dots.y[rows])
            casing = Casing(2.4, dots.color)
            axes.canvas.discs(points, _WHITE if is_dominated else dots.color, _DOT_PX - 5, casing=casing)
    places = np.concatenate([axes.points(dots.x, dots.y) for dots in series])
    boxes = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for dots in series:
        for (x, y), label in zip(axes.points(dots.x, dots.y), dots.labels, strict=True):
            width = text_width(label, TICK_PX)
            options = [(x + dx - width * (dx < 0), y + dy, width) for dx, dy in _PLACES]
            left, middle, _ = min(options, key=lambda option: _overlaps(_box(*option), boxes))
            boxes.append(_box(left, middle, width))
            axes.canvas.text(left, middle, label, TICK_PX, dots.color)


def _box(left: float, middle: float, width: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a label."""
    return left, middle - 8, left + width, middle + 8


def _overlaps(box: tuple[float, float, float, float], boxes: Sequence[tuple[float, float, float, float]]) -> int:
    """How many of the boxes overlap one."""
    left, top, right, bottom = box
    return sum(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in boxes)


def _draw_key(canvas: Canvas, families: Sequence[Dots]) -> None:
    """The legend in one line or two: a dot for each family, and what numbers and rings mean."""
    left = float(_LEFT - 80)
    x, y = left, 74
    for dots in families:
        width = 28 + text_width(dots.name, TICK_PX) + 30
        if x + width > _WIDTH:
            x, y = left, y + 26
        canvas.discs(np.array([[x + 8, y]]), dots.color, _DOT_PX)
        if dots.joined:
            canvas.strokes(np.array([[x - 6, y]]), np.array([[x + 22, y]]), dots.color, _LINE_PX)
        canvas.text(x + 28, y, dots.name, TICK_PX, INK)
        x += width
    canvas.text(left, y + 28, _NOTE, TICK_PX, INK)

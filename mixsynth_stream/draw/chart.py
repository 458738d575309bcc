"""Chart: axes with ticks, grid, lines, dots and a legend on a Canvas, as the plot of trajectories needs them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.draw.canvas import Canvas, Color
from mixsynth_stream.draw.font import text_width

INK: Color = (38, 38, 38)
_GREY: Color = (110, 110, 110)
_GRID: Color = (226, 228, 232)
TICK_PX, LABEL_PX = 16, 18


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) from low to high, roughly `about` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """The numbers from low to high that are 1, 2 or 5 times a power of ten; both are above 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = (digit * 10.0**power for power in powers for digit in (1, 2, 5))
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


@dataclass(frozen=True)
class Axes:
    """A rectangle of a Canvas and its ranges of numbers, which grow downwards where `up_is_less`.

    With `is_log` equal distances along x are equal ratios.
    """

    canvas: Canvas
    left: int
    top: int
    right: int
    bottom: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    up_is_less: bool = False
    is_log: bool = False

    def points(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:  # [N], [N] -> [N, 2]
        """Pixels of the canvas."""
        x, x_range = (np.log(x), np.log(self.x_range)) if self.is_log else (np.asarray(x), self.x_range)
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (np.asarray(y) - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        down = up if self.up_is_less else 1 - up
        return np.stack([self.left + across * (self.right - self.left), self.top + down * (self.bottom - self.top)], -1)

    def line(self, x: np.ndarray, y: np.ndarray, color: Color, width_px: float, opacity: float = 1.0) -> None:
        """A line through points; a NaN breaks it, and so does a point outside the axes."""
        inside = (y >= self.y_range[0]) & (y <= self.y_range[1])
        points = np.where(inside[:, None], self.points(x, y), np.nan)
        self.canvas.strokes(points[:-1], points[1:], color, width_px, opacity=opacity)

    def frame(self, x_label: str | None, y_label: str) -> None:
        """Grid, ticks and labels; draw them first, because they lie below. Without `x_label`, x has no numbers."""
        canvas = self.canvas
        about = max((self.right - self.left) // 110, 2)
        for value in log_ticks(*self.x_range) if self.is_log else nice_ticks(*self.x_range, about):
            x = float(self.points(np.array([value]), np.array([self.y_range[0]]))[0, 0])
            canvas.box(x, self.top, x + 1, self.bottom, _GRID)
            if x_label:
                canvas.box(x, self.bottom, x + 1, self.bottom + 6, _GREY)
                canvas.text(x, self.bottom + 18, f"{value:g}", TICK_PX, INK, anchor="middle")
        for value in nice_ticks(*self.y_range, about=max((self.bottom - self.top) // 60, 2)):
            y = float(self.points(np.array([self.x_range[0]]), np.array([value]))[0, 1])
            canvas.box(self.left, y, self.right, y + 1, _GRID)
            canvas.box(self.left - 6, y, self.left, y + 1, _GREY)
            canvas.text(self.left - 11, y, f"{value:g}", TICK_PX, INK, anchor="right")
        canvas.box(self.left, self.top, self.left + 1, self.bottom, _GREY)
        canvas.box(self.left, self.bottom, self.right, self.bottom + 1, _GREY)
        if x_label:
            canvas.text((self.left + self.right) / 2, self.bottom + 46, x_label, LABEL_PX, INK, anchor="middle")
        canvas.text(self.left - 74, (self.top + self.bottom) / 2, y_label, LABEL_PX, INK, turned=True)


def draw_key(canvas: Canvas, right: int, y: int, colors: list[tuple[str, Color]], ahead: bool) -> None:
    """The legend in one line that ends at `right`: a colour for each joint, then the meanings of line, dot and fan."""
    items: list[tuple[str, str, Color]] = [("line", name, color) for name, color in colors]
    items += [("thin", "filled", INK), ("dot", "measured keyframe", INK)]
    items += [("fan", "forecast", INK)] if ahead else []
    sample, gap = 30, 26
    x = float(right - sum(sample + 8 + text_width(text, TICK_PX) for _, text, _ in items) - gap * (len(items) - 1))
    for kind, text, color in items:
        ends = np.array([[x, y]]), np.array([[x + sample, y]])
        if kind == "dot":
            canvas.discs(np.array([[x + sample / 2, y]]), color, 8)
        else:
            width, opacity = {"line": (5.0, 1.0), "thin": (2.2, 1.0), "fan": (1.4, 0.45)}[kind]
            canvas.strokes(*ends, color, width, opacity=opacity)
        canvas.text(x + sample + 8, y, text, TICK_PX, INK)
        x += sample + 8 + text_width(text, TICK_PX) + gap

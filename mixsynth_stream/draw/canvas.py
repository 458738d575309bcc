"""Canvas: anti-aliased lines, discs, boxes and text on an RGB picture, in numpy alone.

Everything round is a capsule: a line with round ends, or a disc where both ends meet. `strokes` draws any number of
capsules as one layer. Where capsules of a layer overlap, a pixel belongs to the one that covers most of it: joints show
no seams, and translucent bones do not add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.draw.capsules import pixels_near
from mixsynth_stream.draw.font import text_mask

Color = tuple[int, int, int]
_SOFT_PX = 0.5  # half the width of an anti-aliased edge


@dataclass(frozen=True)
class Casing:
    """A rim around strokes, so that they stand out from any background."""

    width_px: float
    color: Color = (0, 0, 0)
    opacity: float = 1.0


class Canvas:
    """Draws into `rgb`, in place. Coordinates are pixels, x right, y down; the first pixel's centre is (0, 0)."""

    def __init__(self, rgb: np.ndarray) -> None:  # [H, W, 3] uint8, contiguous
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.flags.c_contiguous:
            raise ValueError(f"a Canvas needs a contiguous [H, W, 3] uint8 picture, found {rgb.shape} {rgb.dtype}")
        self.rgb = rgb
        self.height, self.width = rgb.shape[:2]
        self._flat = rgb.reshape(-1, 3)
        self._cover = np.zeros(self.height * self.width, np.uint16)  # the best cover in this layer; zero between layers

    def strokes(
        self,
        start: np.ndarray,  # [S, 2]
        end: np.ndarray,  # [S, 2]
        color: np.ndarray | Color,  # [S, 3] or [3]
        width_px: np.ndarray | float,  # [S] or one for all
        *,
        opacity: np.ndarray | float = 1.0,  # [S] or one for all
        casing: Casing | None = None,
    ) -> None:
        """Lines with round ends from start to end; a line with a NaN in it is not drawn."""
        count = len(start)
        if not count:
            return
        start, end = np.array(start, np.float32), np.array(end, np.float32)
        radius = np.broadcast_to(np.asarray(width_px, np.float32) / 2, (count,))
        color = np.broadcast_to(np.asarray(color, np.float32), (count, 3))
        opacity = np.broadcast_to(np.asarray(opacity, np.float32), (count,))
        reach = radius + (casing.width_px if casing else 0.0) + _SOFT_PX
        finite = np.isfinite(start).all(1) & np.isfinite(end).all(1)
        start[~finite] = end[~finite] = 0
        # First the lines that run mostly along x, then those along y: short runs across its direction cover a line.
        extent = np.abs(end - start)
        layer = []
        for axis in (0, 1):
            strokes = np.flatnonzero(finite & ((extent[:, 0] >= extent[:, 1]) == (axis == 0)))
            capsules = start[strokes], end[strokes], reach[strokes]
            for pixel, distance, capsule in pixels_near(*capsules, axis, self.width, self.height):
                stroke = strokes.take(capsule)
                inner = _coverage(radius.take(stroke) - distance)
                outer = _coverage(reach.take(stroke) - _SOFT_PX - distance) if casing else inner
                np.maximum.at(self._cover, pixel, inner << 8 | outer)
                layer.append((pixel, inner, outer, stroke))
        for pixel, inner, outer, stroke in layer:
            best = np.flatnonzero((self._cover.take(pixel) == inner << 8 | outer) & (outer > 0))
            pixel = pixel.take(best)
            self._blend(pixel, inner.take(best), outer.take(best), stroke.take(best), color, opacity, casing)
            # A stroke in a later chunk that covers the pixel equally well must not blend it again.
            self._cover[pixel] = 0

    def discs(
        self,
        center: np.ndarray,  # [S, 2]
        color: np.ndarray | Color,
        diameter_px: np.ndarray | float,
        *,
        opacity: np.ndarray | float = 1.0,
        casing: Casing | None = None,
    ) -> None:
        """Filled circles; with a casing, ringed ones."""
        self.strokes(center, center, color, diameter_px, opacity=opacity, casing=casing)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        color: Color,
        opacity: float = 1.0,
    ) -> None:
        """A filled rectangle on whole pixels: left and top belong to it, right and bottom do not."""
        x0, x1 = sorted((int(np.clip(round(left), 0, self.width)), int(np.clip(round(right), 0, self.width))))
        y0, y1 = sorted((int(np.clip(round(top), 0, self.height)), int(np.clip(round(bottom), 0, self.height))))
        part = self.rgb[y0:y1, x0:x1]
        if opacity >= 1:
            part[:] = color
        else:
            _blend_mask(part, np.full(part.shape[:2], opacity, np.float32), color)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size_px: float,
        color: Color,
        *,
        anchor: str = "left",
        opacity: float = 1.0,
        turned: bool = False,
    ) -> None:
        """One line of text, vertically centred on y; `anchor` names its part at x: left, middle or right.

        A `turned` text runs upwards and is centred on (x, y).
        """
        if anchor not in ("left", "middle", "right"):
            raise ValueError(f"anchor must be left, middle or right, found {anchor!r}")
        mask = text_mask(text, size_px)  # [h, w]
        if turned:
            mask, anchor = np.rot90(mask), "middle"
        height, width = mask.shape
        left = round(x - {"left": 0.0, "middle": 0.5, "right": 1.0}[anchor] * width)
        top = round(y - height / 2)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.width), min(top + height, self.height)
        if x0 < x1 and y0 < y1:
            _blend_mask(self.rgb[y0:y1, x0:x1], mask[y0 - top : y1 - top, x0 - left : x1 - left] * opacity, color)

    def stick(self, sticker: Sticker, left: int, top: int) -> None:
        """Put a sticker on the picture, in which it must lie entirely."""
        height, width = sticker.over_black.shape[:2]
        part = self.rgb[top : top + height, left : left + width]
        background = part * sticker.clear  # at most 255 * 255
        background += 128
        background //= 255
        np.add(background, sticker.over_black, out=part, casting="unsafe")

    def _blend(
        self,
        pixel: np.ndarray,  # [M] flat indices
        inner: np.ndarray,  # [M] coverage by the stroke, 0..255
        outer: np.ndarray,  # [M] coverage by the stroke with its casing, 0..255
        stroke: np.ndarray,  # [M]
        color: np.ndarray,  # [S, 3]
        opacity: np.ndarray,  # [S]
        casing: Casing | None,
    ) -> None:
        strength = opacity.take(stroke) / np.float32(255)
        share = inner * strength
        rim = outer * (strength * np.float32(casing.opacity)) if casing else None
        # One plane at a time: gathering single bytes is several times faster than gathering rows of three.
        for channel in range(3):
            plane = self._flat[:, channel]
            value = plane[pixel].astype(np.float32)
            if casing and rim is not None:
                value += (np.float32(casing.color[channel]) - value) * rim
            value += (color[:, channel].take(stroke) - value) * share
            plane[pixel] = (value + np.float32(0.5)).astype(np.uint8)


@dataclass(frozen=True)
class Sticker:
    """A drawing to put on many pictures: its looks over black, and how much of a picture shines through it."""

    over_black: np.ndarray  # [h, w, 3] uint8
    clear: np.ndarray  # [h, w, 3] uint16, 0..255

    @classmethod
    def of(cls, width: int, height: int, draw: Callable[[Canvas], None]) -> Sticker:
        """`draw` draws it on a canvas of that size, once on black and once on white: the two define the sticker."""
        black, white = (Canvas(np.full((height, width, 3), value, np.uint8)) for value in (0, 255))
        draw(black)
        draw(white)
        return cls(black.rgb, white.rgb.astype(np.uint16) - black.rgb)


def _coverage(inside_px: np.ndarray) -> np.ndarray:  # [M] -> [M] uint16 0..255
    """Share of a pixel that lies inside an edge `inside_px` away."""
    return (np.clip(inside_px + _SOFT_PX, 0, 1) * 255 + 0.5).astype(np.uint16)


def _blend_mask(
    part: np.ndarray,  # [h, w, 3] uint8, changed in place
    mask: np.ndarray,  # [h, w] 0..1
    color: Color,
) -> None:
    under = part.astype(np.float32)
    under += (np.asarray(color, np.float32) - under) * mask[..., None]
    part[:] = (under + 0.5).astype(np.uint8)

"""Font: text as coverage masks, from the glyphs in assets/font.npz (DejaVu Sans; scripts/make_font.py makes them)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from mixsynth_stream.files import ASSETS


@dataclass(frozen=True)
class _Face:
    """The glyphs of one size."""

    strip: np.ndarray  # [line height, sum of widths] uint8
    edges: np.ndarray  # [G + 1] first column of each glyph
    left: np.ndarray  # [G] where the ink begins, from the pen
    advance: np.ndarray  # [G] pen step, pixels


@cache
def _faces() -> tuple[dict[str, int], dict[int, _Face]]:
    """Glyph number by character, and faces by size."""
    asset = ASSETS / "font.npz"
    with asset.open("rb") as file, np.load(file) as font:
        numbers = {character: i for i, character in enumerate(font["characters"].tolist())}
        names = ("strip", "edges", "left", "advance")
        return numbers, {int(s): _Face(*(font[f"{name}_{s}"] for name in names)) for s in font["sizes_px"]}


def nearest_size(size_px: float) -> int:
    """The size of the glyphs that is closest to `size_px`."""
    return min(_faces()[1], key=lambda size: abs(size - size_px))


@lru_cache(maxsize=256)
def text_mask(text: str, size_px: float) -> np.ndarray:  # -> [h, w] float32 0..1
    """One line of text as a mask, in the nearest size that there is. An unknown character becomes a box."""
    numbers, faces = _faces()
    face = faces[nearest_size(size_px)]
    glyphs = [numbers.get(character, numbers["�"]) for character in text]
    # Pens stand on whole pixels: equal distances of equal letters matter more in small text than true widths.
    pens = np.concatenate([[0], np.cumsum(np.round(face.advance[glyphs]))]).astype(int).tolist()
    mask = np.zeros((face.strip.shape[0], pens[-1] + 2), np.float32)
    for glyph, pen in zip(glyphs, pens, strict=False):
        ink = face.strip[:, face.edges[glyph] : face.edges[glyph + 1]]
        column = max(pen + int(face.left[glyph]), 0)
        part = mask[:, column : column + ink.shape[1]]
        np.maximum(part, ink[:, : part.shape[1]] * np.float32(1 / 255), out=part)
    mask.flags.writeable = False
    return mask


def text_width(text: str, size_px: float) -> int:
    """Width of a line of text in pixels."""
    return int(text_mask(text, size_px).shape[1])


def line_height(size_px: float) -> int:
    """Height of a line of text in pixels."""
    return int(_faces()[1][nearest_size(size_px)].strip.shape[0])

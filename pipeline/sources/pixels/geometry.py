"""Geometry: how a decoded picture is shown, from its display matrix (turns, mirror images) and its sample aspect."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from mixsynth_stream.pipeline.sources.pixels.filters import PictureFilter, Step

# The numbers of FFmpeg's kinds of side data for which PyAV has no name.
_NAMED_KINDS: list[Any] = [kind.value for kind in Type]
_UNNAMED_KINDS = [kind for kind in range(64) if kind not in _NAMED_KINDS]
# Anamorphic lenses squeeze by 2, and old discs by up to 3. What lies far beyond is a damaged header.
_MAX_ASPECT = 4
# A filter shows the aspect of a picture by making this many pixels as wide as a height of _UNIT_PX.
_PATCH_PX, _UNIT_PX = 8, 10_000
_MEASURE: tuple[Step, ...] = (
    ("crop", {"w": str(_PATCH_PX), "h": str(_PATCH_PX), "x": "0", "y": "0"}),
    ("scale", {"w": f"round({_UNIT_PX}*clip(sar,0.01,8))", "h": "1", "eval": "frame", "flags": "neighbor"}),
)


class DisplayMatrix:
    """Reads the display matrix of pictures, whatever else FFmpeg attaches to them."""

    def __init__(self) -> None:
        self._without_unnamed = PictureFilter(
            ("sidedata", {"mode": "delete", "type": str(kind)}) for kind in _UNNAMED_KINDS
        )

    def of(self, picture: av.VideoFrame) -> tuple[int, int, int, int] | None:
        """(a, b, c, d), by which (x, y) is shown at (a x + c y, b x + d y); None where there is no matrix."""
        # `picture.side_data` would give the picture a reference to itself, and its megabytes would wait for the garbage
        # collector.
        try:
            matrix = SideDataContainer(picture).get("DISPLAYMATRIX")  # type: ignore[call-arg]
        except ValueError:  # PyAV refuses kinds without a name, such as the EXIF block of a photo
            matrix = SideDataContainer(self._without_unnamed(picture)).get("DISPLAYMATRIX")  # type: ignore[call-arg]
        if matrix is None:
            return None
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        return (a, b, c, d) if a or b or c or d else None


class SampleAspect:
    """How wide the pictures of a stream are shown; their height stays as it is.

    The container's word on the whole stream stands above the codec's, as in players. The codec's may change at any
    picture.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._codec = stream.codec_context
        self._first = stream.sample_aspect_ratio
        self._is_fixed = self._first != self._codec.sample_aspect_ratio
        self._has_changed = False
        self._measure = PictureFilter(_MEASURE)

    def width_of(self, picture: av.VideoFrame) -> int:
        """The width of a picture in square samples."""
        if self._is_fixed:
            return square_width(picture.width, self._first)
        aspect = self._codec.sample_aspect_ratio
        self._has_changed |= aspect != self._first
        # The decoder may be ahead of this picture, whose own aspect PyAV hides.
        if self._has_changed and min(picture.width, picture.height) >= _PATCH_PX and not picture.format.is_bayer:
            aspect = Fraction(self._measure(picture).width, _UNIT_PX).limit_denominator(255)
        return square_width(picture.width, aspect)


def square_width(width: int, aspect: Fraction | None) -> int:
    """The width in square samples of samples that are `aspect` times as wide as high; an absurd aspect counts as 1."""
    if aspect is None or not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        return width
    return max(int(width * aspect + Fraction(1, 2)), 1)

"""FrameMaker: Frames of decoded pictures, upright, with square samples. `frame_from_array`: one of a user's picture."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial

import av
import numpy as np
from av.stream import Disposition

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame, Luma
from mixsynth_stream.pipeline.sources.pixels.converter import converted, own_copy
from mixsynth_stream.pipeline.sources.pixels.geometry import DisplayMatrix, SampleAspect
from mixsynth_stream.pipeline.sources.pixels.luma import luma_of, luma_of_array
from mixsynth_stream.pipeline.sources.pixels.thumbnails import Thumbnails, thumbnail_of_array
from mixsynth_stream.pipeline.sources.pixels.tone import ToneMap, is_hdr

_ONE = 1 << 16  # in display matrices


@dataclass(frozen=True)
class Shape:
    """How a decoded picture is shown: its width in square samples, then turned by its display matrix."""

    width: int
    matrix: tuple[int, int, int, int] | None


class _Decoded:
    """A decoded picture, and how it is shown."""

    def __init__(
        self,
        picture: av.VideoFrame,
        size: tuple[int, int],  # in square samples, before it is turned
        matrix: tuple[int, int, int, int] | None,
        tone_map: ToneMap | None,
        thumbnails: Thumbnails,
    ) -> None:
        self._picture = picture
        self._size, self._matrix, self._tone_map, self._thumbnails = size, matrix, tone_map, thumbnails

    def rgb(self) -> np.ndarray:  # [H, W, 3] uint8
        return _upright_rgb(self._picture, self._size, self._matrix, self._tone_map)

    def luma(self) -> Luma:
        return luma_of(self._picture, self._size, self._matrix)

    def thumbnail(self) -> np.ndarray:  # [32, 32] float32
        return self._thumbnails.of(self._picture)

    def own(self) -> None:
        self._picture = own_copy(self._picture)


class ShapedFrames:
    """Makes Frames of decoded pictures whose shapes are known.

    `rgb`, when it is read, converts the picture to 8 bits of SDR, gives it square samples and turns it upright.
    """

    def __init__(self) -> None:
        self._thumbnails = Thumbnails()
        self._tone_maps: dict[tuple[int, int], ToneMap] = {}  # by transfer curve and primaries

    def frame(
        self, picture: av.VideoFrame, shape: Shape, index: int, time_s: float, *, received_s: float | None = None
    ) -> Frame:
        """The Frame of a picture."""
        stored, shown = (picture.width, picture.height), (shape.width, picture.height)
        matrix = shape.matrix
        sideways = matrix is not None and abs(matrix[1]) > abs(matrix[0])
        width, height = shown[::-1] if sideways else shown
        decoded = _Decoded(picture, shown, matrix, self._tone_map(picture), self._thumbnails)
        return Frame(
            index,
            time_s,
            width,
            height,
            decoded.rgb,
            stored_size=stored[::-1] if sideways else stored,
            luma=decoded.luma,
            thumbnail=decoded.thumbnail,
            own=weakref.WeakMethod(decoded.own),
            received_s=received_s,
        )

    def _tone_map(self, picture: av.VideoFrame) -> ToneMap | None:
        if not is_hdr(picture):
            return None
        kind = picture.color_trc, picture.color_primaries
        if kind not in self._tone_maps:
            self._tone_maps[kind] = ToneMap(*kind)
        return self._tone_maps[kind]


class FrameMaker(ShapedFrames):
    """Makes Frames of the decoded pictures of one stream. With `mirror` they are shown as in a mirror."""

    def __init__(self, stream: av.VideoStream, *, mirror: bool = False) -> None:
        super().__init__()
        self._mirror = mirror
        self._matrix = DisplayMatrix()
        self._aspect = SampleAspect(stream)

    def __call__(self, picture: av.VideoFrame, index: int, time_s: float, *, received_s: float | None = None) -> Frame:
        return self.frame(picture, self.shape_of(picture), index, time_s, received_s=received_s)

    def shape_of(self, picture: av.VideoFrame) -> Shape:
        """The shape of a picture, by what the file and the picture tell."""
        matrix = self._matrix.of(picture)
        if self._mirror:
            a, b, c, d = matrix or (_ONE, 0, 0, _ONE)
            matrix = -a, b, -c, d
        return Shape(self._aspect.width_of(picture), matrix)


def refuse_tiles(container: av.container.InputContainer, name: str) -> None:
    """Raise `SourceError` for a photo in tiles (HEIC of phones), whose tracks are parts of one picture."""
    tracks = [track for track in container.streams.video if track.codec_context is not None]
    if not tracks or not tracks[0].disposition & Disposition.dependent:
        return  # the photo itself, or a video
    sizes = [(track.codec_context.width, track.codec_context.height) for track in tracks if track.frames == 1]
    tiles = sizes.count(sizes[0]) if sizes else 0
    if tiles > 1:
        raise SourceError(f"{name} is a photo in {tiles} tiles, which FFmpeg does not join: convert it to JPEG or PNG")


def frame_from_array(
    rgb: np.ndarray,  # [H, W, 3] uint8
    time_s: float,
    index: int,
    *,
    is_kept: bool = False,
) -> Frame:
    """A Frame of a user's own picture, of a copy where it `is_kept`. `ValueError` for anything but rgb of uint8."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        kind = f"{rgb.dtype} {list(rgb.shape)}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(f"frame {index} must be an rgb array [H, W, 3] of uint8, not {kind}")
    height, width = rgb.shape[:2]
    if is_kept:
        rgb = rgb.copy()
    picture, thumbnail = partial(np.ascontiguousarray, rgb), partial(thumbnail_of_array, rgb)
    return Frame(index, float(time_s), width, height, picture, thumbnail=thumbnail, luma=partial(luma_of_array, rgb))


def _upright_rgb(
    picture: av.VideoFrame,
    size: tuple[int, int],  # in square samples, before it is turned
    matrix: tuple[int, int, int, int] | None,
    tone_map: ToneMap | None,
) -> np.ndarray:  # -> [H, W, 3] uint8
    """The picture as it is shown. The display matrix maps (x, y) to (a x + c y, b x + d y): turns and mirror images."""
    if tone_map is not None:
        picture = tone_map(picture, size)
    rgb = converted(picture, *size, "rgb24").to_ndarray()
    if matrix is not None:
        a, b, c, d = matrix
        if abs(b) > abs(a):
            rgb, a, d = rgb.transpose(1, 0, 2), c, b
        rgb = rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(rgb)

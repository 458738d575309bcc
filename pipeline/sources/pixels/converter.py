"""converted: pictures in another size or format, by converters that last. `own_copy`: one in memory of its own."""

from __future__ import annotations

import threading
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter


class _Converters(threading.local):
    """The converters of a thread, by the format that they give."""

    def __init__(self) -> None:
        self.by_format: dict[str, VideoReformatter] = {}


_converters = _Converters()


def converted(
    picture: av.VideoFrame,
    width: int | None = None,
    height: int | None = None,
    pixel_format: str | None = None,
    **colors: Any,
) -> av.VideoFrame:
    """`picture.reformat`, whose own converter would be made anew, and last as long as the picture, with its threads."""
    name = pixel_format or picture.format.name
    if name not in _converters.by_format:
        _converters.by_format[name] = VideoReformatter()
    return _converters.by_format[name].reformat(picture, width, height, pixel_format, **colors)


def own_copy(picture: av.VideoFrame) -> av.VideoFrame:
    """The same picture outside the decoder's memory; itself where it is one of those that cannot be copied."""
    # Of two fields, which a copy cannot be told to have; upside down; or with a palette.
    if picture.interlaced_frame or any(plane.line_size <= 0 for plane in picture.planes):
        return picture
    copy = av.VideoFrame(picture.width, picture.height, picture.format.name)
    for plane, its_copy in zip(picture.planes, copy.planes, strict=True):
        rows, own_rows = _rows(plane), _rows(its_copy)
        length = min(rows.shape[1], own_rows.shape[1])  # each row ends with a few bytes that mean nothing
        own_rows[:, :length] = rows[: len(own_rows), :length]
    copy.colorspace, copy.color_range = picture.colorspace, picture.color_range
    copy.color_trc, copy.color_primaries = picture.color_trc, picture.color_primaries
    return copy


def _rows(plane: Any) -> np.ndarray:  # a plane is a buffer, which its type does not say -> [H, S] uint8
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)

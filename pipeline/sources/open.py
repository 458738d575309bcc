"""`open_source` finds the reader for whatever a user calls a source; RgbReader takes frames from their own iterator."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sized

import numpy as np

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.source import FrameSource, frame_from_array
from mixsynth_stream.pipeline.sources.synthetic import SyntheticReader
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.spaces import GRID_HZ

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")


def open_source(source: object, *, rate_hz: float = GRID_HZ, retries: int | None = None) -> FrameSource:
    """The reader for a path, a URL, "webcam[:n]" or a camera number, "-", "synthetic:...", or an iterable of frames.

    `rate_hz` is for arrays without times; `retries` is how often a lost live source is opened again (None: for ever).
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, int):
        source = f"webcam:{source}"
    if isinstance(source, os.PathLike):
        return VideoReader(source)
    if not isinstance(source, str):
        if not isinstance(source, Iterable):
            raise ValueError(f"a source is a path, a URL, 'webcam' or an iterator of frames, not {source!r}")
        return RgbReader(source, rate_hz=rate_hz)
    scheme = source.partition("://")[0]
    if source == "webcam" or source.startswith("webcam:") or scheme in LIVE_SCHEMES:
        return LiveReader(source, retries=retries)
    if source.startswith("synthetic:"):
        return SyntheticReader(source)
    reader = VideoReader(source)
    if scheme in ("http", "https") and reader.is_endless:
        reader.close()
        return LiveReader(source, retries=retries)
    return reader


class RgbReader(FrameSource):
    """Frames from the user's own iterator: rgb arrays at a given rate, or pairs (rgb, time_s)."""

    def __init__(self, items: Iterable[np.ndarray | tuple[np.ndarray, float]], *, rate_hz: float = GRID_HZ) -> None:
        super().__init__()
        if not rate_hz > 0:
            raise ValueError(f"rate_hz must be above 0, not {rate_hz}")
        self._items = enumerate(items)
        self._rate_hz = rate_hz
        self._last_s = -float("inf")
        self._first: Frame | None = self._read()
        if self._first is None:
            raise SourceError("the iterator of frames is empty: it must give at least one rgb array [H, W, 3] of uint8")
        count = len(items) if isinstance(items, Sized) else None
        self.info = VideoInfo(
            source="frames", width=self._first.width, height=self._first.height, rate_hz=rate_hz, frame_count=count
        )

    def __next__(self) -> Frame:
        frame, self._first = self._first or self._read(), None
        if frame is None:
            raise StopIteration
        return frame

    def close(self) -> None:
        self._items = enumerate(())
        self._first = None

    def _read(self) -> Frame | None:
        index, item = next(self._items, (0, None))
        if item is None:
            return None
        rgb, time_s = item if isinstance(item, tuple) else (item, index / self._rate_hz)
        if not time_s > self._last_s:
            raise ValueError(f"frame {index} has time {time_s} s, but times must grow: the last was {self._last_s} s")
        self._last_s = float(time_s)
        return frame_from_array(rgb, time_s, index)

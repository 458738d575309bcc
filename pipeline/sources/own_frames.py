"""RgbReader: frames from an iterator of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Sized

import numpy as np

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.spaces import GRID_HZ


class RgbReader(FrameSource):
    """Frames from the user's own iterator: rgb arrays at a fixed rate, or pairs (rgb, time_s)."""

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
        self.info = VideoInfo(
            source="frames",
            width=self._first.width,
            height=self._first.height,
            rate_hz=None if self._has_times else rate_hz,
            frame_count=len(items) if isinstance(items, Sized) else None,
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
        self._has_times = isinstance(item, tuple)
        rgb, time_s = item if isinstance(item, tuple) else (item, index / self._rate_hz)
        if not self._last_s < time_s < float("inf"):
            raise ValueError(
                f"frame {index} has time {time_s} s, but times must be finite and grow: the last was {self._last_s} s"
            )
        self._last_s = float(time_s)
        return frame_from_array(rgb, time_s, index)

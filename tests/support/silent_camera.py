"""SilentCamera: a live source that falls silent, without a camera."""

from __future__ import annotations

import threading

import numpy as np

from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.sources.source import FrameSource


class SilentCamera(FrameSource):
    """A live source that gives some frames and then nothing, until it is closed."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.info = VideoInfo(source="camera", width=64, height=48, rate_hz=30, live=True)
        self._frames = iter(range(frames))
        self._closed = threading.Event()

    def __next__(self) -> Frame:
        raise AssertionError("a Stream reads with a time limit")

    def read(self, timeout_s: float) -> Frame | None:
        index = next(self._frames, None)
        if index is None:
            if self._closed.wait(min(timeout_s, 0.05)):
                raise StopIteration
            return None
        return Frame(index, index / 30, 64, 48, lambda: np.zeros((48, 64, 3), np.uint8))

    def now_s(self) -> float | None:
        return None

    def close(self) -> None:
        self._closed.set()

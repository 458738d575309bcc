"""Excerpt: a part of a video file as a source of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.video import VideoReader

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.sources.sparse.plan import Needs


class Excerpt(FrameSource):
    """The frames of a video file from number `first` on, at most `frames` of them, counted from 0.

    Frames before the first are decoded and not converted. Raises `SourceError`.
    """

    def __init__(self, path: str | Path, *, first: int = 0, frames: int | None = None) -> None:
        super().__init__()
        self._first, self._remainder = first, frames
        self._reader = VideoReader(path)
        self.info = self._reader.info

    def __next__(self) -> Frame:
        if self._remainder == 0:
            raise StopIteration
        frame = next(self._reader)
        while frame.index < self._first:
            frame = next(self._reader)
        if self._remainder is not None:
            self._remainder -= 1
        frame.index -= self._first
        return frame

    def read_sparsely(self, needs: Needs) -> None:
        # The needs count from the first frame of the file.
        if self._first == 0:
            self._reader.read_sparsely(needs)

    def restart_needs(self, time_s: float) -> None:
        self._reader.restart_needs(time_s)

    def close(self) -> None:
        self._reader.close()

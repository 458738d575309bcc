"""StillsReader: picture files as the frames of one clip."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction

import av

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.sources.media.container import open_container
from mixsynth_stream.pipeline.sources.media.medium import Medium
from mixsynth_stream.pipeline.sources.media.names import pictures_behind
from mixsynth_stream.pipeline.sources.pixels.pictures import FrameMaker, refuse_tiles
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.tracks import video_track
from mixsynth_stream.spaces import GRID_HZ


class StillsReader(FrameSource):
    """The pictures of a folder, a pattern ("shots/*.png", "img_%04d.png") or a list of paths, as one clip.

    They follow each other at `rate_hz`, in the order of the numbers in their names; a number that is missing leaves no
    gap. A picture that cannot be read is left out and counted (`unreadable_pictures`), and its time passes.
    """

    def __init__(self, source: str | Sequence[str | os.PathLike[str]], *, rate_hz: float = GRID_HZ) -> None:
        super().__init__()
        if not 0 < rate_hz < float("inf"):
            raise ValueError(f"rate_hz must be above 0, not {rate_hz}")
        self._paths = pictures_behind(source) if isinstance(source, str) else [os.fspath(path) for path in source]
        self._name = source if isinstance(source, str) else os.path.dirname(self._paths[0]) or "."
        self._rate_hz = rate_hz
        self._place = self._index = 0
        self._failure: SourceError | None = None
        self._first: Frame | None = self._read()
        if self._first is None:
            raise self._failure or SourceError(f"no picture matches {shown(self._name)}: check the path")
        self.info = VideoInfo(
            source=self._name,
            width=self._first.width,
            height=self._first.height,
            rate_hz=rate_hz,
            duration_s=len(self._paths) / rate_hz,
            frame_count=len(self._paths),
            time_base=Fraction(1, 90_000),
        )

    def __next__(self) -> Frame:
        frame, self._first = self._first or self._read(), None
        if frame is None:
            raise StopIteration
        return frame

    def close(self) -> None:
        self._first, self._paths = None, []

    def _read(self) -> Frame | None:
        """The next picture that can be read; None at the end."""
        while self._place < len(self._paths):
            path, time_s = self._paths[self._place], self._place / self._rate_hz
            self._place += 1
            try:
                frame = _frame(path, self._index, time_s)
            except SourceError as error:
                self._failure = self._failure or error
                self._count("unreadable_pictures")
                continue
            self._index += 1
            return frame
        return None


def _frame(path: str, index: int, time_s: float) -> Frame:
    """The picture in a file. Raises SourceError."""
    medium = Medium(path)
    with open_container(medium) as container:
        refuse_tiles(container, medium.shown)
        track = video_track(container, medium.shown)
        try:
            picture = next(container.decode(track), None)
        except av.error.FFmpegError as error:
            raise SourceError(f"{medium.shown} cannot be decoded ({error.strerror}): copy it again") from error
        if picture is None:
            raise SourceError(f"{medium.shown} has no picture in it: copy it again")
        return FrameMaker(track)(picture, index, time_s)

"""LatePictures: pictures of a file that were left out, decoded once more when somebody reads them after all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import av
from av.container import InputContainer

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.sources.pixels.pictures import FrameMaker


class LatePictures:
    """Opens a file a second time. Pictures that are read in order are decoded in one go; any thread may read them."""

    def __init__(self, name: str, open_again: Callable[[], tuple[InputContainer, av.VideoStream]]) -> None:
        """`name` is for messages; `open_again` opens the file, with a decoder that is ready."""
        self.count = 0  # pictures decoded
        self._name, self._open_again = name, open_again
        self._lock = threading.Lock()
        self._container: InputContainer | None = None
        self._pictures: Iterator[av.VideoFrame] = iter(())
        self._place: int | None = None  # time stamp of the last picture
        self._is_closed = False

    def frame(self, stamp: int, start: int, index: int, time_s: float) -> Frame:
        """The Frame of the picture with this time stamp, which can be decoded from `start` on. Raises SourceError."""
        with self._lock:
            if self._is_closed:
                raise ValueError(f"frame {index} was not decoded, and its source is closed: read frame.rgb before that")
            picture = self._find(stamp, start)
            if picture is None:
                raise SourceError(
                    f"{self._name} gives frame {index} no second time: see to it that the file stays as it is"
                )
            return self._frame_of(picture, index, time_s)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._is_closed = True
            self._pictures = iter(())
            if self._container is not None:
                self._container.close()
                self._container = None

    def _find(self, stamp: int, start: int) -> av.VideoFrame | None:
        if self._container is None:
            self._open()
        if self._place is None or not start <= self._place < stamp:
            self._seek(start)
        picture = self._next_at(stamp)
        if picture is None:  # the index is wrong: from the beginning
            self._open()
            picture = self._next_at(stamp)
        return picture

    def _next_at(self, stamp: int) -> av.VideoFrame | None:
        for picture in self._pictures:
            self.count += 1
            self._place = picture.dts if picture.pts is None else picture.pts
            if self._place is not None and self._place >= stamp:
                return picture if self._place == stamp else None
        return None

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container, self._stream = self._open_again()
        self._frame_of = FrameMaker(self._stream)
        self._place, self._pictures = None, self._decoded()

    def _seek(self, start: int) -> None:
        assert self._container is not None
        with suppress(av.error.FFmpegError):  # then it goes on from where it is, and from the beginning in the end
            self._container.seek(start, stream=self._stream)
        self._place, self._pictures = None, self._decoded()

    def _decoded(self) -> Iterator[av.VideoFrame]:
        assert self._container is not None
        for packet in self._container.demux(self._stream):
            with suppress(av.error.FFmpegError):
                yield from packet.decode()

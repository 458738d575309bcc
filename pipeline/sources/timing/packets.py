"""Packets: the packets of a stream, of which the first can be looked at before they are taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import av

_AHEAD_BYTES = 32_000_000


class Packets:
    """An iterator of the packets of one stream. `count` is how many were taken, empty ones too."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.count = 0
        self._stream = stream
        self._packets = container.demux(stream)
        self._ahead: deque[av.Packet] = deque()
        self._error: av.error.FFmpegError | None = None

    def peek(self, stamped: int, at_most: int, seconds: float) -> list[av.Packet]:
        """The first packets: `at_most` so many, until `stamped` of them have a time stamp, or so many seconds of them.

        An error among them is raised when its turn comes.
        """
        size, unit_s = 0, float(self._stream.time_base or 0)
        stamps: list[float] = []
        while len(self._ahead) < at_most and len(stamps) < stamped and size < _AHEAD_BYTES:
            if stamps and max(stamps) - min(stamps) >= seconds:
                break
            try:
                packet = next(self._packets)
            except StopIteration:
                break
            except av.error.FFmpegError as error:
                self._error = error
                break
            self._ahead.append(packet)
            size += packet.size
            if packet.pts is not None:
                stamps.append(packet.pts * unit_s)
        return [packet for packet in self._ahead if packet.size]

    def __iter__(self) -> Iterator[av.Packet]:
        while True:
            packet = self._ahead.popleft() if self._ahead else self._next()
            if packet is None:
                return
            self.count += packet.size > 0 or packet.dts is not None  # the last one only says that the file ends
            yield packet

    def _next(self) -> av.Packet | None:
        if self._error is not None:
            raise self._error
        return next(self._packets, None)

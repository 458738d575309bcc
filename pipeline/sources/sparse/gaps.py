"""Gaps: puts the pictures that were left out back into their places among those that were decoded."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import av

from mixsynth_stream.pipeline.sources.sparse.plan import Entry


class DoubtError(Exception):
    """What was left out may have mattered: the file is read anew, and decoded whole."""


@dataclass(frozen=True)
class LeftOut:
    """A picture that was not decoded, with what its packet says of it."""

    pts: int | None
    dts: int | None
    duration: int | None
    stamp: int
    start: int  # the time stamp from which it can be decoded


class Gaps:
    """Follows what goes into a decoder and what comes out, and sees where the two do not fit."""

    def __init__(self) -> None:
        self.count = 0  # pictures left out so far
        self.is_sound = True  # each packet gave one picture, with its time stamp, in order and undamaged
        self._gaps: list[Entry] = []  # a heap of those that have no place yet
        self._expected: set[int] = set()  # time stamps of pictures that the decoder holds

    def leave_out(self, entry: Entry) -> None:
        """Take a packet that is not decoded."""
        self.count += 1
        heapq.heappush(self._gaps, entry)

    def expect(self, packet: av.Packet) -> None:
        """Take a packet that is decoded."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None and not packet.is_discard:
            self._expected.add(stamp)

    @property
    def is_complete(self) -> bool:
        """Whether the decoder has given every picture that it took."""
        return not self._expected

    def filled(self, picture: av.VideoFrame) -> Iterator[av.VideoFrame | LeftOut]:
        """The pictures left out before one that was decoded, and this one. Sets `is_sound`."""
        stamp = picture.dts if picture.pts is None else picture.pts
        is_next = stamp is not None and stamp == min(self._expected, default=None)
        self.is_sound &= is_next and not picture.is_corrupt
        self.refuse_doubt(self.is_sound)
        if stamp is not None:
            self._expected.discard(stamp)
        while self._gaps and (stamp is None or self._gaps[0].stamp < stamp):
            entry = heapq.heappop(self._gaps)
            packet = entry.packet
            yield LeftOut(packet.pts, packet.dts, packet.duration, entry.stamp, entry.start)
        yield picture

    def refuse_doubt(self, is_sound: bool) -> None:
        """Raise DoubtError where something is wrong and pictures were left out."""
        if self.count and not is_sound:
            raise DoubtError

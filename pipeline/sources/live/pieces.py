"""Pieces: what an RTP stream sends of a picture, joined to the whole picture as soon as its last piece is there.

FFmpeg's parser knows that a picture is whole when the next one begins, which is one picture later. RTP marks the last
piece, and FFmpeg does not pass that on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av

# Codecs whose pictures FFmpeg gives in pieces, a network packet each, where it does not parse them.
_IN_PIECES = ("h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "h263")
_START = b"\0\0\1"
# So many bytes of a unit's first piece are FFmpeg's: a start code, and a header that it puts together.
_ADDED_BYTES = {"h264": 5, "hevc": 6}
# Ends are foretold once that was right for so many pictures in a row; after each mistake for twice as many.
_TRIAL, _LONGEST_TRIAL = 20, 10_000


class Pieces:
    """Joins the pieces that have one time stamp. Each picture is given once it is whole.

    A picture ends with a piece that is shorter than network packets may be, in the last of its slices. How many slices
    there are is learnt from the pictures before. Where that does not hold, or was not tried often enough, it ends when
    the next one begins.
    """

    def __init__(self, codec: str) -> None:
        self._is_in_pieces = codec in _IN_PIECES
        self._slice_of = {"h264": _h264_slice, "hevc": _hevc_slice}.get(codec)
        self._added = _ADDED_BYTES.get(codec, 0)
        self._parts: list[bytes] = []
        self._like: av.Packet | None = None  # the newest piece
        self._kind, self._slices = -1, 0  # of the picture so far
        self._usual: dict[int, int] = {}  # slices of the last picture of a kind
        self._longest = 0  # piece so far
        self._seemed_whole = self._is_given = False
        self._trial, self._right = _TRIAL, 0
        self.mistakes = 0  # pictures that were given before they were whole

    def join(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """The pictures of the packets, each as one packet. Codecs that come whole pass as they are."""
        for packet in packets:
            if self._is_in_pieces and packet.size:
                yield from self._add(packet)
            else:
                yield packet
        yield from self._end()

    def _add(self, packet: av.Packet) -> Iterator[av.Packet]:
        if self._like is not None and packet.pts not in (None, self._like.pts):
            yield from self._end()
        elif self._seemed_whole:
            self._mistake()
        self._like, data = packet, bytes(packet)
        self._parts.append(data)
        if self._slice_of is None:
            return
        begins = data.startswith((_START, b"\0" + _START))
        if begins:
            self._count_slices(data)
        size = len(data) - (self._added if begins else 0)
        self._seemed_whole = size < self._longest and self._slices == self._usual.get(self._kind)
        self._longest = max(self._longest, size)
        if self._seemed_whole and self._right >= self._trial:
            self._is_given = True
            yield self._picture()

    def _count_slices(self, data: bytes) -> None:
        """Count the slices that begin in a piece, which may hold several small units."""
        place = data.find(_START)
        while 0 <= place < len(data) - len(_START):
            kind = self._slice_of(data[place + len(_START)]) if self._slice_of else None
            if kind is not None:
                self._kind, self._slices = kind if self._slices == 0 else self._kind, self._slices + 1
            place = data.find(_START, place + len(_START))

    def _end(self) -> Iterator[av.Packet]:
        """The picture ends here. Parameters that come alone go with the next one."""
        if self._slices or self._slice_of is None:
            self._usual[self._kind] = self._slices
            self._right += 1
            if self._parts and self._like is not None:
                yield self._picture()
        self._slices, self._seemed_whole, self._is_given = 0, False, False

    def _mistake(self) -> None:
        self.mistakes += self._is_given
        self._right, self._trial = 0, min(2 * self._trial, _LONGEST_TRIAL)
        self._seemed_whole = self._is_given = False

    def _picture(self) -> av.Packet:
        assert self._like is not None
        picture = av.Packet(b"".join(self._parts))
        picture.pts = self._like.pts
        if self._like.time_base is not None:
            picture.time_base = self._like.time_base
        self._parts = []
        return picture


def _h264_slice(header: int) -> int | None:
    """The kind of a slice by its unit's first byte; None for everything else."""
    kind = header & 31
    return kind if 1 <= kind <= 5 else None


def _hevc_slice(header: int) -> int | None:
    kind = header >> 1 & 63
    return kind if kind <= 31 else None

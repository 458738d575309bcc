"""BoxOrder: whether an MP4's index or its pictures come first, learnt from the bytes as they pass."""

from __future__ import annotations

# The outermost boxes with which MP4 and QuickTime files begin.
_FIRST_BOXES = frozenset({b"ftyp", b"wide", b"free", b"skip", b"mdat", b"moov", b"pnot"})
_TO_THE_END = float("inf")


class BoxOrder:
    """Feed it a file's bytes from the first one on, in pieces of any size.

    An MP4 is a row of boxes: 4 bytes of size, 4 of name, the contents. "moov" is the index, "mdat" has the pictures.
    """

    def __init__(self) -> None:
        self.size = 0  # bytes that have passed
        self.is_mp4: bool | None = None  # None: not known yet
        self.has_index = False
        self.index_is_behind = False  # the pictures came, and no index before them
        self._head = b""
        self._skip: float = 0  # bytes before the next box

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        place = 0
        while place < len(data) and self.is_mp4 is not False:
            if self._skip > 0:
                step = int(min(self._skip, len(data) - place))
                self._skip -= step
                place += step
                continue
            missing = (16 if self._is_long() else 8) - len(self._head)
            self._head += data[place : place + missing]
            place += missing
            self._take_head()

    def _is_long(self) -> bool:
        """Whether the size stands behind the name, in eight bytes more."""
        return len(self._head) >= 8 and self._head[:4] == b"\0\0\0\1"

    def _take_head(self) -> None:
        if len(self._head) < (16 if self._is_long() else 8):
            return
        size, name = int.from_bytes(self._head[:4], "big"), self._head[4:8]
        size = int.from_bytes(self._head[8:16], "big") if self._is_long() else size
        if self.is_mp4 is None:
            self.is_mp4 = name in _FIRST_BOXES
        elif size and size < len(self._head):
            self.is_mp4 = False  # it was no box at all
        if self.is_mp4:
            self.has_index |= name == b"moov"
            self.index_is_behind |= name == b"mdat" and not self.has_index
        self._skip = size - len(self._head) if size else _TO_THE_END
        self._head = b""

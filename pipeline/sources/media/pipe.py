"""Pipe: what can be read only once, from its first byte to its last. Pipes, FIFOs, sockets, terminals, devices."""

from __future__ import annotations

import os
import re
import select
import socket
import stat
import sys

from mixsynth_stream.pipeline.sources.media.boxes import BoxOrder

STDIN = "-"
_HEAD = 1 << 16  # so many bytes have the sizes that a file's format states
_POLL_S = 0.1  # how often a waiting read looks whether it shall end
# So far an MP4 is read to see whether its index comes behind its pictures or not at all.
_INDEX_WITHIN = 64 << 20
_DESCRIPTOR = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/(\d+)")


def is_pipe(name: str) -> bool:
    """Whether `name` is a thing that can be read only once: standard input, or a path that is no file, folder or disk.

    A file that stands as standard input, from its first byte on, is none.
    """
    try:
        mode = os.fstat(0).st_mode if name == STDIN else os.stat(name).st_mode
        if name == STDIN and stat.S_ISREG(mode):
            return os.lseek(0, 0, os.SEEK_CUR) != 0
    except (OSError, ValueError):
        return name == STDIN
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))


class Pipe:
    """A file for FFmpeg that has no `seek`. `stop` ends a read that waits, within a tenth of a second.

    No error leaves `read`, because FFmpeg would go on after it: the pipe ends there, and `error` is what happened.
    """

    def __init__(self, name: str) -> None:
        """Open it. A FIFO is waited for until another program writes into it. Raises OSError."""
        self.name = name
        self.boxes = BoxOrder()
        self.head = b""  # its first bytes
        self.has_ended = False
        self.error: BaseException | None = None
        self._stopped = False
        self._descriptor = _open(name)

    @property
    def is_terminal(self) -> bool:
        """Whether a person sits at the other end."""
        return os.isatty(self._descriptor)

    def read(self, size: int, *, to_the_end: bool = False) -> bytes:
        """The next bytes, at most `size` of them, as soon as there are some; none at the end.

        An MP4 whose index comes late is given up after a while, because FFmpeg cannot read it; not with `to_the_end`.
        """
        if self.error is not None or self._stopped or (self._is_hopeless() and not to_the_end):
            return b""
        try:
            data = self._wait_and_read(size)
        except BaseException as error:
            self.error = error
            return b""
        self.head += data[: _HEAD - len(self.head)]
        self.boxes.feed(data)
        self.has_ended |= not data and not self._stopped
        return data

    def stop(self) -> None:
        """End a read that waits, in whatever thread it is, and all later ones."""
        self._stopped = True

    def close(self) -> None:
        """Close it for good; not while another thread reads."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_hopeless(self) -> bool:
        """Whether this is an MP4 with its index behind its pictures, and so long that the index is not waited for."""
        return self.boxes.index_is_behind and not self.boxes.has_index and self.boxes.size > _INDEX_WITHIN

    def _wait_and_read(self, size: int) -> bytes:
        if sys.platform != "win32":  # which has no `poll`
            events = select.poll()  # `select` takes no descriptor above 1023
            events.register(self._descriptor, select.POLLIN)
            while not events.poll(_POLL_S * 1000):
                if self._stopped:
                    return b""
        return os.read(self._descriptor, size)


def _open(name: str) -> int:
    """A file descriptor of our own."""
    if name == STDIN:
        return os.dup(0)
    descriptor = _DESCRIPTOR.fullmatch(name)
    if descriptor:  # the path of a socket cannot be opened
        return os.dup(int(descriptor[1] or 0))
    if stat.S_ISSOCK(os.stat(name).st_mode):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(name)
            return os.dup(client.fileno())
    return os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0))

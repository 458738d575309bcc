"""Memory of a program that runs for days: fewer heaps, what was freed given back, and Python's searches for cycles."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The numbers of these settings in glibc's malloc.h.
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
# Networks and pictures are larger, in parts; what Python and FFmpeg make all the time is smaller.
_LARGE_BYTES = 256 * 1024
# So many more objects than were freed begin a search. Python has 700, which a frame of a few cameras makes.
_THRESHOLD = 10_000


def keep_heaps_small() -> None:
    """Let the threads of this process share two heaps, with nothing large in them.

    glibc gives up to eight a core, and what one thread has freed serves no other. Where threads come and go with
    cameras that are lost and estimators that hang, each heap keeps tens of MB. It also puts ever larger blocks there,
    up to 32 MB, and cannot give them back while anything lies behind them.
    """
    _call_glibc("mallopt", _M_ARENA_MAX, 2)
    _call_glibc("mallopt", _M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_memory_back() -> None:
    """Let the C library return what was freed: a hundred MB of an estimator that was closed. It takes milliseconds."""
    _call_glibc("malloc_trim", 0)


def resident_bytes(pid: int | None = None) -> int:
    """The memory that a process has in use (None: this one); 0 where it has ended, and on systems without /proc."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _call_glibc(name: str, *numbers: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            getattr(ctypes.CDLL(None), name)(*numbers)


@contextmanager
def rare_collections() -> Iterator[None]:
    """For a loop of a program of our own: the searches took a fifth of the loop of 16 cameras."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

"""`share_heaps` and `give_memory_back`: what was freed serves other threads, and goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

# The number of this setting in glibc's malloc.h.
_M_ARENA_MAX = -8


def share_heaps() -> None:
    """Let the threads of this process share two heaps.

    glibc gives up to eight a core, and what one thread has freed serves no other. Where threads come and go with
    cameras that are lost and estimators that hang, each heap keeps tens of MB.
    """
    _call_glibc("mallopt", _M_ARENA_MAX, 2)


def give_memory_back() -> None:
    """Let the C library return what was freed: a hundred MB of an estimator that was closed. It takes milliseconds."""
    _call_glibc("malloc_trim", 0)


def _call_glibc(name: str, *numbers: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            getattr(ctypes.CDLL(None), name)(*numbers)

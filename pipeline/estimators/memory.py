"""`give_memory_back`: what was freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def give_memory_back() -> None:
    """Let the C library return what was freed. This takes some milliseconds.

    glibc keeps it otherwise, in a heap for each thread that ever ran: a hundred MB of each estimator that was closed.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)

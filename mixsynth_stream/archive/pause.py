"""Pause: Ctrl-Z of a terminal, which processes in groups of their own do not get, stops them with this one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixsynth_stream.archive.hand import Hand


@contextmanager
def pausing(hands: Callable[[], list[Hand]]) -> Iterator[None]:
    """Within it, the processes of all hands stop and go on with this one, and a pause counts to no limit of time.

    Nothing happens where there is no such signal, where it is ignored, and outside of the main thread.
    """
    number = getattr(signal, "SIGTSTP", None)
    is_main = threading.current_thread() is threading.main_thread()
    if number is None or not is_main or signal.getsignal(number) != signal.SIG_DFL:
        yield
        return

    def pause(_number: int, _frame: FrameType | None) -> None:
        stopped, start_s = hands(), time.monotonic()
        for hand in stopped:
            hand.signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # it stops here, and goes on here
        for hand in stopped:
            hand.due_s += time.monotonic() - start_s
            hand.signal(signal.SIGCONT)

    signal.signal(number, pause)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)

"""Interrupt: Ctrl-C and SIGTERM end a job between two writes, so that every file can still be closed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

EXIT_INTERRUPTED = 130


class Interrupt:
    """Within `with Interrupt() as interrupt:` the first signal raises KeyboardInterrupt, the second quits at once.

    Under `interrupt.held()` the first signal waits for the end of the block: half a packet or half a line is never
    written.
    """

    def __init__(self) -> None:
        self._received = False
        self._holding = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        # Python delivers signals to the main thread only; in another thread the caller's handlers stay.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Delay a signal to the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._received:
            raise KeyboardInterrupt

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._received:
            sys.stderr.write("\nmixsynth-stream: interrupted again, files are left unfinished\n")
            sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)
        self._received = True
        if not self._holding:
            raise KeyboardInterrupt

"""Interrupt: Ctrl-C, SIGTERM and SIGHUP end a job between two writes, so that every file can still be closed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from mixsynth_stream.console import say

EXIT_INTERRUPTED = 130
# A terminal that is closed sends SIGHUP, once or several times. Windows has none.
_HANGUP = getattr(signal, "SIGHUP", None)


class Interrupt:
    """Within `with Interrupt() as interrupt:` the first signal raises KeyboardInterrupt.

    A second Ctrl-C or SIGTERM quits at once. Under `interrupt.held()` the first signal waits for the end of the block:
    half a packet or half a line is never written.
    """

    def __init__(self) -> None:
        self._received = False
        self._raised = False
        self._requests = 0  # of Ctrl-C and SIGTERM
        self._holds = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        # Python delivers signals to the main thread only; in another thread the caller's handlers stay.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, _HANGUP):
                # Under nohup SIGHUP is ignored, and stays so.
                if number is not None and (number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Delay a signal to the end of the block, or of the outermost of several such blocks."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._received and not self._holds:
            self._raise()

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Within `held`, a block that the first signal breaks off. One that has come before raises at once."""
        holds, self._holds = self._holds, 0
        try:
            if self._received:
                self._raise()
            yield
        finally:
            self._holds = holds

    @property
    def is_received(self) -> bool:
        """Whether a signal has come, also one that is still held."""
        return self._received

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._requests += number != _HANGUP
        if self._requests > 1:
            say("\nmixsynth-stream: interrupted again, files are left unfinished")
            os._exit(EXIT_INTERRUPTED)
        if not self._received:
            self._received = True
            if not self._holds:
                self._raise()

    def _raise(self) -> None:
        """Once: what is cleaned up after it may hold signals, too."""
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

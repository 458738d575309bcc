"""`interruptible`: a call that may wait for ever, and that Ctrl-C, SIGTERM or another thread end all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.1


class ClosedError(Exception):
    """Nobody needs any more what was waited for."""


def interruptible(
    call: Callable[[], T],
    stop: Callable[[], None] | None = None,
    *,
    closing: threading.Event | None = None,
    discard: Callable[[T], None] = lambda _: None,
) -> T:
    """What `call` returns or raises, called in a thread of its own.

    Python handles no signal while FFmpeg waits for a pipe or a server. A signal that raises in the main thread meets
    this function instead: it calls `stop` and leaves the other thread behind. So it does, with `ClosedError`, once
    `closing` is set. What comes of the call after that goes to `discard`.
    """
    if closing is None and threading.current_thread() is not threading.main_thread():
        return call()  # signals never come to this thread
    results: list[T] = []
    errors: list[BaseException] = []
    is_over, is_left, lock = threading.Event(), threading.Event(), threading.Lock()

    def work() -> None:
        try:
            result = call()
            with lock:
                if not is_left.is_set():
                    results.append(result)
                    return
            with suppress(Exception):  # nobody is left who could be told
                discard(result)
        except BaseException as error:  # whatever it is, the caller raises it
            errors.append(error)
        finally:
            is_over.set()

    threading.Thread(target=work, name="open", daemon=True).start()
    try:
        while not is_over.wait(_POLL_S):  # on Windows Ctrl-C ends no wait without a time limit
            if closing is not None and closing.is_set():
                raise ClosedError
    except BaseException:
        with lock:
            is_left.set()
        for result in results:  # it has just come
            discard(result)
        if stop is not None:
            stop()
        raise
    if errors:
        raise errors[0]
    return results[0]

"""`interruptible`: a call that may wait for ever, and that Ctrl-C and SIGTERM end all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.1


def interruptible(call: Callable[[], T], stop: Callable[[], None] | None = None) -> T:
    """What `call` returns or raises, called in a thread of its own.

    Python handles no signal while FFmpeg waits for a pipe or a server. A signal that raises in the main thread meets
    this function instead: it calls `stop` and leaves the other thread behind.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()  # signals never come to this thread
    results: list[T] = []
    errors: list[BaseException] = []
    is_over = threading.Event()

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # whatever it is, the caller raises it
            errors.append(error)
        finally:
            is_over.set()

    threading.Thread(target=work, name="open", daemon=True).start()
    try:
        while not is_over.wait(_POLL_S):  # on Windows Ctrl-C ends no wait without a time limit
            pass
    except BaseException:
        if stop is not None:
            stop()
        raise
    if errors:
        raise errors[0]
    return results[0]

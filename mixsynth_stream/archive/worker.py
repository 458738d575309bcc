"""Worker: a process of its own that takes tasks from its standard input and gives outcomes on its standard output.

Both are pickled: they come from the process that has started this one, and go there.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from mixsynth_stream.archive.step import Teller
from mixsynth_stream.interrupt import EXIT_INTERRUPTED, Interrupt

if TYPE_CHECKING:
    from mixsynth_stream.archive.work import Task

# What a worker is told, or tells, beside tasks and outcomes.
READY, STOP = "ready", "stop"
_STEP_EVERY_S = 0.2
# Whoever has started this process has gone: results are completed within so long.
_ORPHAN_S = 5.0


class Worker:
    """Takes tasks until its input ends or tells it to stop."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers
        self._tasks: queue.Queue[Task | None] = queue.Queue()

    def run(self) -> None:
        """The tasks, one after the other. The models of the first serve for all: a run has one set of options."""
        from mixsynth_stream.archive.work import work
        from mixsynth_stream.job.kit import Kit

        with Interrupt() as interrupt, interrupt.held():
            # Schedulers send these to all processes of a run, and who has started this one will tell it to stop.
            for name in ("SIGTERM", "SIGHUP"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_IGN)
            threading.Thread(target=self._listen, args=(interrupt,), name="requests", daemon=True).start()
            self._send(READY)
            kit: Kit | None = None
            teller = Teller(self._send, _STEP_EVERY_S)
            while not interrupt.is_received:
                task = self._tasks.get()
                if task is None:
                    break
                kit = kit or Kit(task.options)
                self._send(work(task, kit=kit, interrupt=interrupt, on_result=teller))
            if kit is not None:
                kit.close()

    def _send(self, message: Any) -> None:
        with suppress(BrokenPipeError):  # nobody reads any more: the end of the input says so, too
            pickle.dump(message, self._answers)
            self._answers.flush()

    def _listen(self, interrupt: Interrupt) -> None:
        """Take what comes, in a thread of its own. A signal ends a task that is in work."""
        is_orphan = False
        try:
            while (request := pickle.load(self._requests)) != STOP:
                self._tasks.put(request)
        except (EOFError, OSError):
            is_orphan = True
        self._tasks.put(None)
        if interrupt.is_received:  # a second signal would leave files unfinished
            pass
        elif sys.platform == "win32":
            signal.raise_signal(signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGINT)
        if is_orphan:
            time.sleep(_ORPHAN_S)
            os._exit(EXIT_INTERRUPTED)


def main() -> None:
    """Work for whoever has started this process. All that libraries print goes to standard error."""
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="mixsynth-stream: %(message)s", stream=sys.stderr)
    requests, answers = (io.FileIO(os.dup(number), mode) for number, mode in ((0, "rb"), (1, "wb")))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    with suppress(KeyboardInterrupt):  # held until the last task has ended
        Worker(io.BufferedReader(requests), io.BufferedWriter(answers)).run()
    sys.stderr.flush()
    os._exit(0)  # a thread that FFmpeg still holds must not hold this process

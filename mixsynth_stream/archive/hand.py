"""Hand: a process that works on one source at a time (`archive.worker`), as the process sees it that has started it."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from mixsynth_stream.archive.work import Task
from mixsynth_stream.archive.worker import STOP
from mixsynth_stream.errors import ModelError
from mixsynth_stream.memory import resident_bytes

log = logging.getLogger(__name__)

# Libraries of linear algebra start a thread for each core, in each process; matrices of a body are too small for two.
# All others are few and fixed: three decode, because a damaged file has the same frames only with the same number, one
# runs each network, and MediaPipe's wait for each other.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
_OURS = "mixsynth-stream: "
_LAST_LINES = 20
# A process is ready within so long, also from a slow network disk; one that was killed has ended, unless a disk hangs.
_START_S, _END_S = 300.0, 5.0


class Hand:
    """`give` it a task; what it answers comes into the inbox with the hand, and None at its end.

    `cause` is the word of an entry for why it was told to stop, or killed. Raises `ModelError` where no process can be
    started.
    """

    def __init__(self, inbox: queue.Queue[tuple[Hand, Any]]) -> None:
        self.task: Task | None = None
        self.frames = 0  # of the task, so far
        self.is_ready = False
        self.cause = ""
        # When it has to be ready, or its task complete, and, once it was told to stop, when it is killed.
        self.due_s = time.monotonic() + _START_S
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        # A group of its own, so that Ctrl-C of a terminal comes to it from here only, and once.
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        # With our own search path: Python would put the folder that we are in before all others.
        code = f"import sys; sys.path[:] = {sys.path!r}; from mixsynth_stream.archive.worker import main; main()"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ONE_THREAD | dict(os.environ),
                **group,
            )
        except OSError as error:
            raise ModelError(f"a process for a job cannot be started ({error.strerror}): give fewer --jobs") from error
        self._readers = [
            threading.Thread(target=self._read_answers, args=(inbox,), name="answers", daemon=True),
            threading.Thread(target=self._read_log, name="log", daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, task: Task, timeout_s: float | None) -> bool:
        """Begin a task; False where the process has just ended."""
        try:
            self._write(task)
        except OSError:
            return False
        self.task, self.frames = task, 0
        self.due_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        return True

    def rest(self) -> None:
        """It is ready, or its task has ended."""
        self.is_ready, self.task = True, None
        if not self.cause:
            self.due_s = float("inf")

    def stop(self, cause: str, within_s: float) -> None:
        """Let it complete its files and end."""
        self.cause, self.due_s = cause, time.monotonic() + within_s
        with suppress(OSError):
            self._write(STOP)

    def kill(self, cause: str = "") -> None:
        """End it at once."""
        self.cause = cause or self.cause
        self.due_s = float("inf")
        with suppress(OSError):
            self._process.kill()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with suppress(OSError):
            self._process.send_signal(number)

    def close(self) -> None:
        """Wait for its end, and close its pipes."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        for reader in self._readers:
            reader.join(_END_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def memory_bytes(self) -> int:
        """The memory that it has in use; 0 where it has ended."""
        return resident_bytes(self.pid)

    def end_in_words(self) -> str:
        """How the process came to its end, once it has."""
        code = self._process.poll()
        if code is None:
            return "has not ended"
        if code >= 0:
            return f"ended with code {code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"was ended by {name}" + (", as the system does where memory is short" if name == "SIGKILL" else "")
        return f"was ended by signal {-code}"

    def last_line(self) -> str:
        """The last line that it has written to standard error."""
        return next((line for line in reversed(self._lines) if line.strip()), "")

    def _write(self, request: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()

    def _read_answers(self, inbox: queue.Queue[tuple[Hand, Any]]) -> None:
        assert self._process.stdout is not None
        # A process that breaks off in the middle of an answer leaves anything.
        with suppress(EOFError, OSError, pickle.UnpicklingError, AttributeError, ImportError, IndexError, ValueError):
            while True:
                inbox.put((self, pickle.load(self._process.stdout)))
        inbox.put((self, None))

    def _read_log(self) -> None:
        """Keep the last lines, and pass on what we log ourselves, with the name of the source."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            self._lines.append(text)
            task = self.task
            if text.startswith(_OURS):
                log.warning(
                    "%s", text.removeprefix(_OURS) if task is None else f"{task.source}: {text.removeprefix(_OURS)}"
                )

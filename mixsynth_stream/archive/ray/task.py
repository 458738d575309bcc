"""`perform`: one source of an archive in a worker of Ray, and `Board`: what workers tell before they have a result."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mixsynth_stream.archive.limits import Limits
from mixsynth_stream.archive.step import Step, Teller
from mixsynth_stream.archive.upload import work_into
from mixsynth_stream.archive.work import Outcome, Task, lost, name_of, work
from mixsynth_stream.export.header import made_by
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.kit import Kit
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.memory import resident_bytes

_STEP_EVERY_S = 0.5
_TICK_S = 0.2
# A source that was told to end completes its files within so long, or its process ends.
_STOP_S = 3.0
# The networks of the last source, for the next one that this process gets.
_kits: dict[JobOptions, Kit] = {}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run was started: its working folder, which relative names start from, and the program's version.

    `results` is the URL that results go to; None: the folder of each task.
    """

    folder: str
    made_by: str
    results: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a task, and what was logged meanwhile."""

    outcome: Outcome
    warnings: tuple[str, ...] = ()


class Board:
    """How far sources are, and why a worker ended itself, by source. It is an actor: workers write, the run reads."""

    def __init__(self) -> None:
        self._notes: dict[str, Step | str] = {}

    def write(self, source: str, note: Step | str) -> None:
        """Put a step, or a cause, in the place of the last note on a source."""
        self._notes[source] = note

    def take(self) -> dict[str, Step | str]:
        """The notes since the last call."""
        notes, self._notes = self._notes, {}
        return notes


def perform(task: Task, limits: Limits, place: Place, tell: Callable[[Step | str, bool], None]) -> Answer:
    """Process one source in this process. `tell` takes a note for the board, and whether to wait until it is there."""
    refusal = _refusal(task, place)
    if refusal is not None:
        return Answer(outcome=refusal)
    messages = _Messages()
    logging.getLogger("mixsynth_stream").addHandler(messages)
    # Ray's processes are started with SIGINT blocked, and a task is told to end by it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        with Interrupt() as interrupt, interrupt.held(), Guard(limits, tell, interrupt) as guard:
            do = work if place.results is None else partial(work_into, place.results, work=work)
            outcome = do(
                task=task,
                kit=_kit(task.options),
                interrupt=interrupt,
                on_result=Teller(lambda step: tell(step, False), _STEP_EVERY_S),
            )
        return Answer(outcome=guard.judged(outcome), warnings=tuple(messages.lines))
    except KeyboardInterrupt:  # it was held until the work had ended
        return Answer(outcome=guard.judged(outcome), warnings=tuple(messages.lines))
    finally:
        logging.getLogger("mixsynth_stream").removeHandler(messages)


def _refusal(task: Task, place: Place) -> Outcome | None:
    """The outcome of a source that this machine cannot process as the run asks for."""
    machine = os.uname().nodename
    if made_by() != place.made_by:
        cause, reason = (
            "model",
            (f"{machine} has {made_by()}, and the run is of {place.made_by}: install the same version on all machines"),
        )
    elif not Path(place.folder).is_dir():
        cause, reason = (
            "output",
            (f"{machine} has no folder {place.folder}: run where all machines have the same folders, or give URLs"),
        )
    else:
        os.chdir(place.folder)
        return None
    return lost(task, cause, reason)


def _kit(options: JobOptions) -> Kit:
    if options not in _kits:
        for kit in _kits.values():
            kit.close()
        _kits.clear()
        _kits[options] = Kit(options)
    return _kits[options]


class _Messages(logging.Handler):
    """Warnings of ours, to be told where the run was started."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Guard:
    """Ends a source that takes too long or too much: by a signal, so that its files are completed, or with its process.

    `with Guard(limits, tell, interrupt) as guard:` around the work, and then `guard.judged(outcome)`.
    """

    def __init__(self, limits: Limits, tell: Callable[[Step | str, bool], None], interrupt: Interrupt) -> None:
        self._limits, self._interrupt = limits, interrupt
        self._tell = tell
        self._cause = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="limits", daemon=True)

    def __enter__(self) -> Guard:
        if self._limits.timeout_s is not None or self._limits.memory_bytes is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome with the cause for which it was ended, if it was."""
        if self._cause and outcome.entry.cause == "interrupted":
            reason = self._limits.reason(self._cause)
            return replace(outcome, entry=replace(outcome.entry, cause=self._cause, reason=reason))
        return outcome

    def _watch(self) -> None:
        timeout_s, most_bytes = self._limits.timeout_s, self._limits.memory_bytes
        due_s = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        while not self._ended.wait(_TICK_S):
            if most_bytes is not None and resident_bytes() > most_bytes:
                self._end("memory")
            if time.monotonic() > due_s and self._cause:
                self._end(self._cause)
            elif time.monotonic() > due_s and not self._interrupt.is_received:  # a second signal ends at once
                self._cause, due_s = "timeout", time.monotonic() + _STOP_S
                os.kill(os.getpid(), signal.SIGINT)

    def _end(self, cause: str) -> None:
        """End this process. Nobody else can tell why."""
        self._tell(cause, True)
        os.kill(os.getpid(), signal.SIGKILL)


def remote_perform(task: Task, limits: Limits, place: Place, board: Any) -> Answer:
    """`perform` as Ray runs it, with the actor of a Board."""
    from mixsynth_stream.telemetry import import_ray

    ray = import_ray()

    def tell(note: Step | str, waits: bool) -> None:
        reference = board.write.remote(name_of(task.source), note)
        if waits:
            ray.wait([reference], timeout=_STOP_S)

    tell(Step(frames=0), False)
    return perform(task, limits, place, tell)

"""Crew: an engine of several processes, each with one source at a time.

Each is started anew, not forked, so that it shares nothing with others. It goes on to the next source, because its
start takes longer than a short clip; what it does not survive costs the source that it has.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from mixsynth_stream.archive.engine import Assignment
from mixsynth_stream.archive.hand import Hand
from mixsynth_stream.archive.limits import next_attempt, set_aside
from mixsynth_stream.archive.pause import pausing
from mixsynth_stream.archive.step import Step
from mixsynth_stream.archive.work import Outcome, Task, lost
from mixsynth_stream.archive.worker import READY
from mixsynth_stream.errors import ModelError

_TICK_S = 0.1
# A process that was told to stop completes its files within so long, or is killed.
_STOP_S = 3.0
# So many processes in a row may end before they are ready.
_MOST_FALSE_STARTS = 3


class Crew:
    """`jobs` processes. An `Engine`: see there."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __call__(self, assignment: Assignment) -> Generator[Outcome, None, None]:
        """The outcome of each task, as each ends. Raises `ModelError` where no process can be started."""
        run = _Run(self._jobs, assignment)
        with pausing(lambda: list(run.hands)):
            yield from run.outcomes()


class _Run:
    """The tasks of one run, and the processes that it has for them."""

    def __init__(self, jobs: int, assignment: Assignment) -> None:
        self.hands: list[Hand] = []
        self._jobs = jobs
        self._tasks, self._limits = assignment.tasks, assignment.limits
        self._interrupt, self._on_step = assignment.interrupt, assignment.on_step
        self._inbox: queue.Queue[tuple[Hand, Any]] = queue.Queue()
        self._false_starts = 0

    def outcomes(self) -> Iterator[Outcome]:
        """The outcome of each, once. Whatever happens, no process is left afterwards."""
        try:
            while (self._tasks or self._busy()) and not self._interrupt.is_received:
                self._staff()
                self._enforce()
                for task, outcome in self._ended():
                    another = next_attempt(task, outcome.entry, self._limits)
                    if another is not None:
                        self._tasks.append(another)
                    else:
                        yield set_aside(outcome, self._limits)
                    self._on_step(task, None)
            yield from self._stop()
        finally:
            for hand in self.hands:
                hand.kill()
                hand.close()
            self.hands = []

    def _busy(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.task is not None]

    def _staff(self) -> None:
        """Start the processes that are needed, and give tasks to those that have none."""
        for _ in range(min(self._jobs, len(self._tasks) + len(self._busy())) - len(self.hands)):
            self.hands.append(Hand(self._inbox))
        for hand in self.hands:
            is_free = hand.is_ready and hand.task is None and not hand.cause
            if self._tasks and is_free and hand.give(self._tasks[0], self._limits.timeout_s):
                self._tasks.popleft()

    def _enforce(self) -> None:
        """End what takes too long or too much."""
        now_s = time.monotonic()
        for hand in self.hands:
            if now_s > hand.due_s and hand.cause:  # it was told to stop, and has not ended
                hand.kill()
            elif now_s > hand.due_s:
                hand.stop("timeout", _STOP_S)
            elif hand.task is not None and hand.memory_bytes() > (self._limits.memory_bytes or float("inf")):
                hand.kill("memory")

    def _ended(self) -> Iterator[tuple[Task, Outcome]]:
        """The tasks that have ended until now, after a moment in which others may."""
        timeout_s = _TICK_S
        while True:
            try:
                hand, message = self._inbox.get(timeout=timeout_s) if timeout_s else self._inbox.get_nowait()
            except queue.Empty:
                return
            timeout_s = 0.0
            task = hand.task
            if message is None:
                self._leave(hand)
                if task is not None:
                    yield task, lost(task, hand.cause or "crash", self._reason(hand), frames=hand.frames)
            elif message == READY:
                hand.rest()
                self._false_starts = 0
            elif isinstance(message, Step) and task is not None:
                hand.frames = message.frames
                self._on_step(task, message)
            elif isinstance(message, Outcome) and task is not None:
                hand.rest()
                is_late = hand.cause == "timeout" and message.entry.cause == "interrupted"
                entry = replace(message.entry, cause="timeout", reason=self._reason(hand)) if is_late else message.entry
                yield task, replace(message, entry=entry)

    def _leave(self, hand: Hand) -> None:
        """A process has ended."""
        hand.close()
        self.hands.remove(hand)
        self._false_starts += not hand.is_ready
        if self._false_starts >= _MOST_FALSE_STARTS:
            raise ModelError(
                f"{self._false_starts} processes for jobs in a row {hand.end_in_words()} at their start "
                f"({hand.last_line()}): leave --jobs out, which works in this process"
            )

    def _stop(self) -> Iterator[Outcome]:
        """Let what is in work complete its files, and give its outcomes."""
        for hand in self._busy():
            hand.stop("interrupted", _STOP_S)
        while self._busy():
            self._enforce()
            for task, outcome in self._ended():
                self._on_step(task, None)
                yield outcome

    def _reason(self, hand: Hand) -> str:
        """Why a task was ended, or how its process came to its end."""
        if hand.cause == "interrupted":
            return f"it was interrupted, and did not end within {_STOP_S:g} s"
        return self._limits.reason(hand.cause) if hand.cause else f"its process {hand.end_in_words()}"

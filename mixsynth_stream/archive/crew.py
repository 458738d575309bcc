"""Crew: an engine of several processes, each with one source at a time.

Each is started anew, not forked, so that it shares nothing with others. It goes on to the next source, because its
start takes longer than a short clip; what it does not survive costs the source that it has.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from mixsynth_stream.archive.engine import Step
from mixsynth_stream.archive.entry import FAILED, Entry
from mixsynth_stream.archive.hand import Hand
from mixsynth_stream.archive.limits import Limits, next_attempt, set_aside
from mixsynth_stream.archive.pause import pausing
from mixsynth_stream.archive.work import Outcome, Task, name_of
from mixsynth_stream.archive.worker import READY
from mixsynth_stream.errors import ModelError
from mixsynth_stream.interrupt import Interrupt

_TICK_S = 0.1
# A process that was told to stop completes its files within so long, or is killed.
_STOP_S = 3.0
# So many processes in a row may end before they are ready.
_MOST_FALSE_STARTS = 3


class Crew:
    """`jobs` processes. An `Engine`, for one run: see there."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._hands: list[Hand] = []
        self._inbox: queue.Queue[tuple[Hand, Any]] = queue.Queue()
        self._waiting: deque[Task] = deque()
        self._false_starts = 0

    def __call__(
        self,
        tasks: deque[Task],
        limits: Limits,
        *,
        interrupt: Interrupt,
        on_step: Callable[[Task, Step | None], None] = lambda task, step: None,
    ) -> Generator[Outcome, None, None]:
        """The outcome of each task, as each ends. Raises `ModelError` where no process can be started."""
        self._waiting = tasks
        with pausing(lambda: list(self._hands)):
            yield from self._outcomes(limits, interrupt, on_step)

    def _outcomes(
        self, limits: Limits, interrupt: Interrupt, on_step: Callable[[Task, Step | None], None]
    ) -> Iterator[Outcome]:
        try:
            while (self._waiting or self._busy()) and not interrupt.is_received:
                self._staff(limits)
                self._enforce(limits)
                for task, outcome in self._ended(limits, on_step):
                    another = next_attempt(task, outcome.entry, limits)
                    if another is not None:
                        self._waiting.append(another)
                    else:
                        yield set_aside(outcome, limits)
                    on_step(task, None)
            yield from self._stop(limits, on_step)
        finally:
            for hand in self._hands:
                hand.kill()
                hand.close()
            self._hands = []

    def _busy(self) -> list[Hand]:
        return [hand for hand in self._hands if hand.task is not None]

    def _staff(self, limits: Limits) -> None:
        """Start the processes that are needed, and give tasks to those that have none."""
        for _ in range(min(self._jobs, len(self._waiting) + len(self._busy())) - len(self._hands)):
            self._hands.append(Hand(self._inbox))
        for hand in self._hands:
            is_free = hand.is_ready and hand.task is None and not hand.cause
            if self._waiting and is_free and hand.give(self._waiting[0], limits.timeout_s):
                self._waiting.popleft()

    def _enforce(self, limits: Limits) -> None:
        """End what takes too long or too much."""
        now_s = time.monotonic()
        for hand in self._hands:
            if now_s > hand.due_s and hand.cause:  # it was told to stop, and has not ended
                hand.kill()
            elif now_s > hand.due_s:
                hand.stop("timeout", _STOP_S)
            elif hand.task is not None and hand.memory_bytes() > (limits.memory_bytes or float("inf")):
                hand.kill("memory")

    def _ended(self, limits: Limits, on_step: Callable[[Task, Step | None], None]) -> Iterator[tuple[Task, Outcome]]:
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
                    yield task, _lost(task, hand, limits)
            elif message == READY:
                hand.rest()
                self._false_starts = 0
            elif isinstance(message, Step) and task is not None:
                hand.frames = message.frames
                on_step(task, message)
            elif isinstance(message, Outcome) and task is not None:
                hand.rest()
                is_late = hand.cause == "timeout" and message.entry.cause == "interrupted"
                entry = (
                    replace(message.entry, cause="timeout", reason=_reason(hand, limits)) if is_late else message.entry
                )
                yield task, replace(message, entry=entry)

    def _leave(self, hand: Hand) -> None:
        """A process has ended."""
        hand.close()
        self._hands.remove(hand)
        self._false_starts += not hand.is_ready
        if self._false_starts >= _MOST_FALSE_STARTS:
            raise ModelError(
                f"{self._false_starts} processes for jobs in a row {hand.end_in_words()} at their start "
                f"({hand.last_line()}): leave --jobs out, which works in this process"
            )

    def _stop(self, limits: Limits, on_step: Callable[[Task, Step | None], None]) -> Iterator[Outcome]:
        """Let what is in work complete its files, and give its outcomes."""
        for hand in self._busy():
            hand.stop("interrupted", _STOP_S)
        while self._busy():
            self._enforce(limits)
            for task, outcome in self._ended(limits, on_step):
                on_step(task, None)
                yield outcome


def _lost(task: Task, hand: Hand, limits: Limits) -> Outcome:
    """The outcome of a task whose process has ended in it."""
    entry = Entry(
        source=name_of(task.source),
        state=FAILED,
        reason=_reason(hand, limits),
        cause=hand.cause or "crash",
        attempts=task.attempts,
        folder=task.folder.name,
        frames=hand.frames,
        settings=task.settings,
    )
    return Outcome(entry=entry)


def _reason(hand: Hand, limits: Limits) -> str:
    if hand.cause == "timeout":
        return f"it took longer than {limits.timeout_s:g} s (--timeout-per-file)"
    if hand.cause == "memory":
        return f"its process took more than {(limits.memory_bytes or 0) / 2**20:.0f} MB of memory (--memory-per-job)"
    if hand.cause == "interrupted":
        return f"it was interrupted, and did not end within {_STOP_S:g} s"
    return f"its process {hand.end_in_words()}"

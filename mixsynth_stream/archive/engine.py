"""Engines: what takes the tasks of an archive to their outcomes. `one_by_one` is the one without other processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from mixsynth_stream.archive.limits import Limits, next_attempt, set_aside
from mixsynth_stream.archive.work import Outcome, Task, work
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.kit import Kit


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far a task has come: its frames so far, those that are expected if that is known, its people so far."""

    frames: int
    expected_frames: int | None = None
    people: int = 0


class Engine(Protocol):
    """Takes tasks from the left of `tasks`, and gives the outcome of each once, in any order, as each ends.

    It asks `next_attempt` whether one that failed is tried again, and gives what `set_aside` makes of the last try.
    Who has called it may clear `tasks`; then nothing new is begun. Signals are held within it: where
    `interrupt.is_received`, it lets what is in work end early, gives its outcomes, and ends. `on_step` takes how far a
    task has come, and None for one that is left.
    """

    def __call__(
        self,
        tasks: deque[Task],
        limits: Limits,
        *,
        interrupt: Interrupt,
        on_step: Callable[[Task, Step | None], None],
    ) -> Generator[Outcome, None, None]: ...


def one_by_one(
    tasks: deque[Task],
    limits: Limits,
    *,
    interrupt: Interrupt,
    on_step: Callable[[Task, Step | None], None] = lambda task, step: None,
) -> Generator[Outcome, None, None]:
    """Each task in this process, with one set of models for all. Each shows its own progress."""
    if not tasks:
        return
    with Kit(tasks[0].options) as kit:
        while tasks and not interrupt.is_received:
            task = tasks.popleft()
            outcome = work(task, kit=kit, interrupt=interrupt)
            another = next_attempt(task, outcome.entry, limits)
            if another is not None:
                tasks.appendleft(another)
            else:
                yield set_aside(outcome, limits)

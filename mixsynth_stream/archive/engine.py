"""Engines: what takes the tasks of an archive to their outcomes. `one_by_one` is the one without other processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from mixsynth_stream.archive.limits import Limits, next_attempt, set_aside
from mixsynth_stream.archive.step import Step
from mixsynth_stream.archive.work import Outcome, Task, work
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.kit import Kit


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a run gives to its engine. `on_step` takes how far a task has come, and None for one that is left."""

    tasks: deque[Task]
    limits: Limits
    interrupt: Interrupt
    on_step: Callable[[Task, Step | None], None]


class Engine(Protocol):
    """Takes tasks from the left of those assigned, and gives the outcome of each once, in any order, as each ends.

    It asks `next_attempt` whether one that failed is tried again, and gives what `set_aside` makes of the last try.
    Who has called it may clear the tasks; then nothing new is begun. Signals are held within it: where the interrupt
    is received, it lets what is in work end early, gives its outcomes, and ends.
    """

    def __call__(self, assignment: Assignment) -> Generator[Outcome, None, None]: ...


def one_by_one(assignment: Assignment) -> Generator[Outcome, None, None]:
    """Each task in this process, with one set of models for all. Each shows its own progress."""
    tasks, limits, interrupt = assignment.tasks, assignment.limits, assignment.interrupt
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

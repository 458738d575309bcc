"""Engines: what takes the tasks of an archive to their outcomes. `one_by_one` is the one without other processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mixsynth_stream.archive.limits import Limits, next_attempt, set_aside
from mixsynth_stream.archive.work import Outcome, Task, work
from mixsynth_stream.job.kit import Kit


class Engine(Protocol):
    """Gives the outcome of each task once, in any order, as each ends. Closing it ends what is in work.

    It asks `next_attempt` whether a task that failed is tried again, and gives what `set_aside` makes of the last one.
    """

    def __call__(self, tasks: Sequence[Task], limits: Limits) -> AbstractContextManager[Iterator[Outcome]]: ...


def one_by_one(tasks: Sequence[Task], limits: Limits) -> Iterator[Outcome]:
    """Each task in this process, with one set of models for all."""
    waiting = deque(tasks)
    if not waiting:
        return
    with Kit(waiting[0].options) as kit:
        while waiting:
            task = waiting.popleft()
            outcome = work(task, kit=kit)
            another = next_attempt(task, outcome.entry, limits)
            if another is not None:
                waiting.appendleft(another)
                continue
            yield set_aside(outcome)
            if outcome.entry.cause == "interrupted":
                return

"""Limits: what a source may take, and `next_attempt`: whether it is tried again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mixsynth_stream.archive.entry import LOSSES, Entry
from mixsynth_stream.archive.work import Outcome, Task

# A source that has cost so many processes is set aside.
MOST_LOSSES = 2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """None is no limit. `retries` is how often a source is tried again that failed for a passing reason."""

    timeout_s: float | None = None
    memory_bytes: int | None = None
    retries: int = 1


def next_attempt(task: Task, entry: Entry, limits: Limits) -> Task | None:
    """The task once more, where there is hope: a lost process gets one more, and a passing reason `retries`."""
    if entry.cause in LOSSES:
        return replace(task, attempts=task.attempts + 1) if task.attempts < MOST_LOSSES else None
    is_passing = entry.cause == "changed" or (entry.cause == "source" and "://" in task.source)
    if is_passing and task.attempts <= limits.retries:
        return replace(task, attempts=task.attempts + 1)
    return None


def set_aside(outcome: Outcome) -> Outcome:
    """The outcome of a source that is not tried again. One that was lost is to be left alone by later runs, too."""
    entry = outcome.entry
    if entry.cause not in LOSSES:
        return outcome
    reason = f"{entry.reason}, {entry.attempts} times; it is set aside, and --again tries it once more"
    return replace(outcome, entry=replace(entry, set_aside=True, reason=reason))

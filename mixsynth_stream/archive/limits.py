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

    def of(self, cause: str) -> float | None:
        """The limit that ends a source for this cause."""
        return {"timeout": self.timeout_s, "memory": self.memory_bytes}.get(cause)

    def reason(self, cause: str) -> str:
        """The sentence for a source that was ended for this cause."""
        if cause == "timeout":
            return f"it took longer than {self.timeout_s:g} s (--timeout-per-file)"
        return f"its process took more than {(self.memory_bytes or 0) / 2**20:.0f} MB of memory (--memory-per-job)"

    def spares(self, entry: Entry) -> bool:
        """Whether a source that is set aside is left alone: it has crashed, or the limits give it no more than then."""
        if not entry.set_aside:
            return False
        limit = self.of(entry.cause)
        return entry.limit is None or (limit is not None and limit <= entry.limit)


def next_attempt(task: Task, entry: Entry, limits: Limits) -> Task | None:
    """The task once more, where there is hope: a lost process gets one more, and a passing reason `retries`."""
    if entry.cause in LOSSES:
        return replace(task, attempts=task.attempts + 1) if task.attempts < MOST_LOSSES else None
    is_passing = entry.cause == "changed" or (entry.cause == "source" and "://" in task.source)
    if is_passing and task.attempts <= limits.retries:
        return replace(task, attempts=task.attempts + 1)
    return None


def set_aside(outcome: Outcome, limits: Limits) -> Outcome:
    """The outcome of a source that is not tried again. One that was lost is to be left alone by later runs, too."""
    entry = outcome.entry
    if entry.cause not in LOSSES:
        return outcome
    limit = limits.of(entry.cause)
    remedy = "--again tries it once more" if limit is None else "a larger limit, or --again, tries it once more"
    reason = f"{entry.reason}, twice: it is set aside, and {remedy}"
    return replace(outcome, entry=replace(entry, set_aside=True, limit=limit, reason=reason))

"""ArchiveProgress: the progress of all files of an archive, in one line."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from mixsynth_stream.archive.entry import DONE, Entry
from mixsynth_stream.archive.plan import Plan
from mixsynth_stream.archive.step import Step
from mixsynth_stream.archive.work import Task
from mixsynth_stream.job.progress import RATE_OVER_S, Progress, time_left


class ArchiveProgress(Progress):
    """Call `step` as tasks go on, `end` when one has ended, and `close` at the end or by `with`.

    The line has files, how many are in work and failed, the rate of all together, people, and the time left, by bytes.
    """

    def __init__(
        self, plan: Plan, *, shown: bool = True, to: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(f"{plan.sources} files", None, shown=shown, to=to, clock=clock)
        self._files, self._failed = plan.sources, len(plan.aside)
        self._complete = len(plan.complete)
        self._people = sum(entry.people for entry in plan.complete)
        self._frames = 0
        self._sizes = {task.source: task.bytes for task in plan.tasks}
        self._bytes = sum(self._sizes.values())
        self._bytes_done = 0
        self._working: dict[str, tuple[Task, Step]] = {}
        self._start_s = clock()
        self._counts: deque[tuple[float, int]] = deque([(clock(), 0)])

    def __enter__(self) -> ArchiveProgress:
        return self

    def step(self, task: Task, step: Step | None) -> None:
        """Take how far a task has come; None where it has ended, or will be tried again."""
        if step is None:
            self._working.pop(task.source, None)
        else:
            self._working[task.source] = task, step
        if self.is_due():
            self._draw(self._line_of_all())

    def end(self, entry: Entry) -> None:
        """Take what came of a source."""
        self._complete += entry.state == DONE
        self._failed += entry.state != DONE
        self._people += entry.people
        self._frames += entry.frames
        self._bytes_done += self._sizes.get(entry.source, 0)

    def _line_of_all(self) -> str:
        now_s = self._clock()
        frames = self._frames + sum(step.frames for _, step in self._working.values())
        self._counts.append((now_s, frames))
        while len(self._counts) > 2 and now_s - self._counts[0][0] > RATE_OVER_S:
            self._counts.popleft()
        before_s, before = self._counts[0]
        rate = max(frames - before, 0) / max(now_s - before_s, 1e-9)
        people = self._people + sum(step.people for _, step in self._working.values())
        parts = [f"{self._complete}/{self._files} files", f"{len(self._working)} in work"]
        parts += [f"{self._failed} failed"] if self._failed else []
        parts += [f"{rate:.0f} frames/s", f"{people} {'person' if people == 1 else 'people'}", self._left(now_s)]
        return "  ".join(part for part in parts if part)

    def _left(self, now_s: float) -> str:
        """The time left, at the speed so far."""
        shares = (
            task.bytes * min(step.frames / step.expected_frames, 1.0)
            for task, step in self._working.values()
            if step.expected_frames
        )
        done = self._bytes_done + sum(shares)
        return time_left((self._bytes - done) * (now_s - self._start_s) / done) if done else ""

"""`run_archive`: many sources to the folders of their results, and to the lines of a manifest beside them.

In a script: `run_archive(["a.mp4", "b.mp4"], Path("out"), JobOptions(progress=False), engine=Crew(2))`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mixsynth_stream.archive.engine import Assignment, Engine, one_by_one
from mixsynth_stream.archive.entry import DONE, Entry
from mixsynth_stream.archive.limits import Limits
from mixsynth_stream.archive.manifest import Manifest
from mixsynth_stream.archive.plan import Plan, plan_of
from mixsynth_stream.archive.progress import ArchiveProgress
from mixsynth_stream.archive.work import Outcome
from mixsynth_stream.console import say, shown
from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.settings import settings_of

_NO_LIMITS = Limits()
# What is wrong for one source in these ways is wrong for the others, too.
_FOR_ALL: dict[str, type[Exception]] = {"model": ModelError, "output": OutputError, "usage": ValueError}
# Causes whose reason is a sentence that names its source.
_NAMED = frozenset({"source", *_FOR_ALL})


@dataclass
class ArchiveResult:
    """What a run came to: the entries of the sources that it has worked on, and the plan that they are from."""

    plan: Plan
    entries: list[Entry] = field(default_factory=list)

    @property
    def failed(self) -> list[Entry]:
        """Sources without complete results, those that are set aside included."""
        return self.plan.aside + [entry for entry in self.entries if entry.state != DONE]


def run_archive(
    sources: Sequence[str],
    out: Path,
    options: JobOptions,
    *,
    engine: Engine = one_by_one,
    limits: Limits = _NO_LIMITS,
    again: bool = False,
    shard: tuple[int, int] | None = None,
    is_quiet: bool = False,
    has_display: bool = True,
) -> ArchiveResult:
    """Process the sources that are not complete yet, a subfolder of `out` each.

    `again` makes all anew; `shard` (number from 1, count) takes that share of the sources. What fails is told and
    counted, and the others go on. `has_display`: one line shows the progress of all, else each shows its own.
    Raises `ModelError`, `OutputError` and `ValueError` for what is wrong for all sources, once those in work have
    ended, and KeyboardInterrupt; the manifest then has all that is complete.
    """
    with Interrupt() as interrupt, interrupt.held(), Manifest(out, shard) as manifest:
        settings = settings_of(options)
        with interrupt.released():  # thousands of files are looked at, and servers asked
            plan = plan_of(
                sources,
                out,
                options,
                settings,
                entries=manifest.entries,
                limits=limits,
                again=again,
                shard=shard,
                results=getattr(engine, "results", None),  # where an engine puts them elsewhere
            )
        result = ArchiveResult(plan)
        with ArchiveProgress(plan, shown=has_display and not is_quiet) as progress:
            run = _Run(result, manifest, progress, is_quiet=is_quiet)
            run.begin()
            assignment = Assignment(tasks=run.tasks, limits=limits, interrupt=interrupt, on_step=progress.step)
            with closing(engine(assignment)) as outcomes:
                for outcome in outcomes:
                    run.take(outcome)
        if run.error is not None:
            raise run.error
        if interrupt.is_received or any(entry.cause == "interrupted" for entry in result.entries):
            raise KeyboardInterrupt
        return result


class _Run:
    """What becomes of outcomes. `error` is one that ends the run: then `tasks`, those that wait, are cleared."""

    def __init__(self, result: ArchiveResult, manifest: Manifest, progress: ArchiveProgress, *, is_quiet: bool) -> None:
        self.tasks = deque(result.plan.tasks)
        self.error: Exception | None = None
        self._result, self._manifest, self._progress = result, manifest, progress
        self._tell: Callable[[str], None] = (lambda line: None) if is_quiet else say

    def begin(self) -> None:
        """Tell what the plan leaves out, and write the lines of doubles."""
        plan = self._result.plan
        if plan.complete:
            self._tell(f"{len(plan.complete)} of {plan.sources} sources are complete already; --again makes them anew")
        for reason, count in plan.anew.items():
            self._tell(f"{count} of {plan.sources} sources are made anew: {reason}")
        for entry in plan.aside:
            say(f"mixsynth-stream: {shown(entry.source)}: {entry.reason}")
        for entry in plan.doubles:
            self._tell(f"{shown(entry.source)}: {entry.reason}")
            if self._manifest.entries.get(entry.source) != entry:
                self._manifest.append(entry)

    def take(self, outcome: Outcome) -> None:
        """Keep an outcome, and tell of it."""
        entry = outcome.entry
        self._progress.end(entry)
        self._progress.close()
        self._result.entries.append(entry)
        error: Exception | None = None
        if entry.cause in _FOR_ALL and not (entry.cause == "usage" and self._has_done()):
            error = _FOR_ALL[entry.cause](entry.reason)
        try:
            self._manifest.append(entry)
        except OutputError as failure:
            error = error or failure
        if error is not None:
            self._end(error)
        elif entry.state == DONE:
            self._tell(shown(outcome.summary))
        else:
            say(f"mixsynth-stream: {'' if entry.cause in _NAMED else shown(entry.source) + ': '}{entry.reason}")

    def _has_done(self) -> bool:
        return any(entry.state == DONE for entry in self._result.entries)

    def _end(self, error: Exception) -> None:
        """Begin nothing new. The first error is that of the run."""
        rest = f" ({len(self.tasks)} sources were not started)" if self.tasks else ""
        self.tasks.clear()
        if self.error is None:
            self.error = type(error)(f"{error}{rest}")
        elif str(error) != str(self.error):
            say(f"mixsynth-stream: {shown(str(error))}")

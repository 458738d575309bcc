"""`work`: one source of an archive, from its file to its line of the manifest.

Whatever runs archives calls it: the command itself, a process of its own, an actor on another machine.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mixsynth_stream.archive.entry import DONE, FAILED, Entry, ResultFile
from mixsynth_stream.console import shown, utf8
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.files import file_sha256
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.fingerprint import source_state
from mixsynth_stream.job.kit import Kit
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.process import JobResult, process
from mixsynth_stream.job.summary import summary_line
from mixsynth_stream.memory import give_memory_back
from mixsynth_stream.redact import redacted

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One source, where its results go, and how they are made.

    `folder` lies below `out`, the manifest's folder. `settings` are those of `job.settings`, for the manifest.
    """

    source: str
    folder: Path
    out: Path
    options: JobOptions
    settings: Mapping[str, Any] = field(default_factory=dict)
    bytes: int = 0  # of the source, as far as it is known, for the time left
    attempts: int = 1  # this one included


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a task: its line of the manifest, and one for people where it is done."""

    entry: Entry
    summary: str = ""


def name_of(source: str) -> str:
    """A source as a manifest names it: in UTF-8, without the secrets of an address."""
    return redacted(utf8(source))


def lost(task: Task, cause: str, reason: str, *, frames: int = 0) -> Outcome:
    """The outcome of a task whose process has given none."""
    entry = Entry(
        source=name_of(task.source),
        state=FAILED,
        cause=cause,
        reason=reason,
        attempts=task.attempts,
        folder=task.folder.name,
        frames=frames,
        settings=task.settings,
    )
    return Outcome(entry=entry)


def work(
    task: Task,
    *,
    kit: Kit | None = None,
    interrupt: Interrupt | None = None,
    on_result: Callable[[JobResult], None] = lambda result: None,
) -> Outcome:
    """Process one source into its folder. Whatever goes wrong is in the outcome; nothing is raised.

    `kit`, `interrupt` and `on_result` as `process` takes them; signals break off nothing but the job itself. What was
    written before a failure stays, and is listed. After a signal the cause is "interrupted": whoever calls then ends.
    """
    latest: list[JobResult] = []

    def see(result: JobResult) -> None:
        latest[:] = [result]
        on_result(result)

    start = time.perf_counter()
    before = source_state(task.source, asks=True)
    cause, reason = "", ""
    try:
        with contextlib.nullcontext() if interrupt is None else interrupt.released():
            process(task.source, task.folder, task.options, kit=kit, interrupt=interrupt, on_result=see)
    except KeyboardInterrupt:
        cause, reason = "interrupted", "it was interrupted; what was written so far is readable"
    except Exception as error:
        cause, reason = cause_of(error), str(error) or type(error).__name__
        if cause == "error":
            log.debug("%s failed", shown(task.source), exc_info=error)
            reason = f"{type(error).__name__}: {reason}"
    if cause != "interrupted" and source_state(task.source, asks=True) != before:
        cause = "changed"
        reason = "the source has changed while it was read: run it again once nobody writes it"
    result = latest[0] if latest else None
    entry = Entry(
        source=name_of(task.source),
        state=FAILED if cause else DONE,
        reason=shown(reason),
        cause=cause,
        attempts=task.attempts,
        folder=_relative(task.folder, task.out),
        files=tuple(result_files(task.folder, task.out)) if result is not None else (),
        source_state=before,
        settings=task.settings,
    )
    summary = summary_line(result, task.options.formats) if result is not None and not cause else ""
    total_s = time.perf_counter() - start
    gc.collect()  # a decoder's threads and pictures wait for it in a circle of references
    give_memory_back()
    return Outcome(entry=entry if result is None else _counted(entry, result, total_s), summary=summary)


def cause_of(error: Exception) -> str:
    """The word for an error in a manifest."""
    kinds = ((SourceError, "source"), (ModelError, "model"), (OutputError, "output"), (ValueError, "usage"))
    return next((word for kind, word in kinds if isinstance(error, kind)), "error")


def result_files(folder: Path, out: Path) -> Iterator[ResultFile]:
    """The result files in a folder, hashed."""
    from mixsynth_stream.export.earlier import results_in

    for path in results_in(folder):
        if path.suffix != ".part":
            status = path.stat()
            yield ResultFile(
                name=_relative(path, out),
                bytes=status.st_size,
                sha256=file_sha256(path),
                modified_ns=status.st_mtime_ns,
            )


def _relative(path: Path, out: Path) -> str:
    return utf8(os.path.relpath(path, out).replace(os.sep, "/"))


def _counted(entry: Entry, result: JobResult, total_s: float) -> Entry:
    """The entry with what its job has counted."""
    stages = {**result.stats.seconds, "output": result.output_seconds, "total": total_s}
    return replace(
        entry,
        frames=result.stats.frames,
        people=len(result.people),
        estimator_calls=result.stats.estimator_calls,
        seconds={name: round(seconds, 3) for name, seconds in stages.items()},
        counters={name: count for name, count in result.stats.counters.items() if count},
    )

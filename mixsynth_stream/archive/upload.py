"""`work_into`: one source of an archive whose results go into a store instead of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from mixsynth_stream.archive.entry import FAILED, Entry, ResultFile
from mixsynth_stream.archive.temporary import temporary_folder
from mixsynth_stream.archive.work import Outcome, Task
from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.sources.media.stores import is_stored, put, stored_state


def work_into(results: str, task: Task, work: Callable[..., Outcome], **options: Any) -> Outcome:
    """What `work` makes of a task, in a folder that is gone afterwards; its files are copied below the URL `results`.

    The entry then names files by their URLs. Where the store takes them not, its cause is "output";
    where a package for it is missing, "model".
    """
    with temporary_folder("mixsynth-results-") as temporary:
        local = replace(task, out=temporary, folder=temporary / task.folder.name)
        outcome = work(local, **options)
        place = f"{results.rstrip('/')}/{task.folder.name}"
        names = {temporary / file.name: PurePosixPath(file.name).name for file in outcome.entry.files}
        try:
            if names:
                put(names, place)
        except OSError as error:
            reason = f"{place} cannot be written: {error}; check the address and what you may do there"
            return _without_files(outcome.entry, "output", reason)
        except ModelError as error:
            return _without_files(outcome.entry, "model", str(error))
    files = tuple(
        replace(file, name=f"{place}/{PurePosixPath(file.name).name}", modified_ns=None) for file in outcome.entry.files
    )
    summary = outcome.summary.replace(str(local.folder), place)
    return replace(outcome, entry=replace(outcome.entry, files=files), summary=summary)


def is_in_place(entry: Entry, results: str | None) -> bool:
    """Whether the results of an entry are where a run would put them: below the URL, or None: in folders."""
    start = None if results is None else f"{results.rstrip('/')}/"
    return all(file.name.startswith(start) if start else not is_stored(file.name) for file in entry.files)


def is_stored_whole(file: ResultFile) -> bool:
    """Whether a store has a result in its size."""
    try:
        return bool(stored_state(file.name)["bytes"] == file.bytes)
    except (OSError, ModelError):
        return False


def _without_files(entry: Entry, cause: str, reason: str) -> Outcome:
    return Outcome(entry=replace(entry, state=FAILED, cause=cause, reason=reason, files=()))

"""`plan_of`: which sources of an archive are to be processed, into which folders, and which are complete already."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mixsynth_stream.archive.entry import DONE, SKIPPED, Entry, ResultFile
from mixsynth_stream.archive.limits import Limits
from mixsynth_stream.archive.upload import is_in_place, is_stored_whole
from mixsynth_stream.archive.work import Task, name_of
from mixsynth_stream.files import file_sha256
from mixsynth_stream.job.fingerprint import source_state
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import subfolders
from mixsynth_stream.job.settings import differences
from mixsynth_stream.pipeline.sources.media.stores import is_stored

# So many sources are looked at together: a server takes a while to answer, and hashing leaves the interpreter free.
_ASKED_TOGETHER = 16
_UNKNOWN = "a source that may have changed"


@dataclass
class Plan:
    """What a run has to do. `doubles` are lines for sources that are another one under a second name.

    `anew` counts, by reason, the tasks whose results from before do not count any more.
    """

    folders: Mapping[str, str]  # of all sources that the run was given, also of other shards
    tasks: list[Task] = field(default_factory=list)
    complete: list[Entry] = field(default_factory=list)
    doubles: list[Entry] = field(default_factory=list)
    aside: list[Entry] = field(default_factory=list)  # they have cost processes before, and are left alone
    anew: Counter[str] = field(default_factory=Counter)

    @property
    def sources(self) -> int:
        """How many sources the run has, one under several names once."""
        return len(self.tasks) + len(self.complete) + len(self.aside)


def plan_of(
    sources: Sequence[str],
    out: Path,
    options: JobOptions,
    settings: Mapping[str, Any],
    *,
    entries: Mapping[str, Entry],
    limits: Limits,
    again: bool = False,
    shard: tuple[int, int] | None = None,
    results: str | None = None,
) -> Plan:
    """The plan for sources of which `entries` has what earlier runs have come to, by `name_of` them.

    A source keeps the name and the folder that it has there. `again`: nothing counts as complete. `shard` (number from
    1, count): only this share of the sources, which depends on nothing but their names.
    `results` is the URL of the store in which they are to be, or None: folders below `out`.
    """
    firsts, doubles = _without_doubles(sources, entries)
    places = dict(zip(firsts, subfolders(firsts, out, _known_folders(firsts, entries)), strict=True))
    plan = Plan({source: folder.name for source, folder in places.items()})
    plan.doubles = [double for double in doubles if shard is None or shard_of(double.source, shard[1]) == shard[0]]
    own = [source for source in places if shard is None or shard_of(source, shard[1]) == shard[0]]
    known = {source: places[source] for source in own if not again and name_of(source) in entries}
    reasons = _reasons_for_anew(known, entries, settings, results)
    for source in own:
        entry = entries.get(name_of(source))
        if entry is not None and not again and limits.spares(entry) and not differences(entry.settings, settings):
            plan.aside.append(entry)
            continue
        reason = "--again" if again else reasons.get(source, _UNKNOWN)
        if entry is not None and not reason:
            plan.complete.append(entry)
            continue
        if entry is not None and entry.state == DONE:
            plan.anew[reason] += 1
        plan.tasks.append(
            Task(
                source=source,
                folder=places[source],
                out=out,
                options=options,
                settings=settings,
                bytes=_bytes_of(source),
            )
        )
    return plan


def shard_of(source: str, count: int) -> int:
    """Which of `count` shards a source belongs to, from 1: the same whatever other sources there are."""
    digest = hashlib.sha256(name_of(source).encode()).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


def _without_doubles(sources: Iterable[str], entries: Mapping[str, Entry]) -> tuple[list[str], list[Entry]]:
    """The sources, each once, and lines for other names of the same files."""
    doubles = []
    earlier = {_identity(name): name for name, entry in entries.items() if entry.state != SKIPPED}
    firsts: dict[Any, str] = {}
    names: set[str] = set()
    for source in sources:
        identity = _identity(source)
        if name_of(source) not in entries:  # an earlier run may have had another name of it
            source = earlier.get(identity, source)
        name = name_of(source)
        if name in names:
            continue
        names.add(name)
        first = firsts.setdefault(identity, source)
        if first is not source:
            reason = f"it is the same file as {name_of(first)}, whose results count for both"
            doubles.append(Entry(source=name, state=SKIPPED, reason=reason))
    return list(firsts.values()), doubles


def _identity(source: str) -> Any:
    """What two names of one file have in common."""
    try:
        status = os.stat(source)
    except (OSError, ValueError):
        return name_of(source)
    return (
        (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) and status.st_ino else os.path.realpath(source)
    )


def _known_folders(sources: Sequence[str], entries: Mapping[str, Entry]) -> dict[str, str]:
    """The names of the folders below the manifest's that sources have from before, each once."""
    by_name = {name_of(source): source for source in sources}
    known: dict[str, str] = {}
    used: set[str] = set()
    for name, entry in entries.items():
        is_plain = len(PurePosixPath(entry.folder).parts) == 1 and entry.folder != ".." and "\\" not in entry.folder
        if is_plain and entry.folder not in used:
            used.add(entry.folder)
            known[by_name.get(name, name)] = entry.folder
    return known


def _reasons_for_anew(
    places: Mapping[str, Path], entries: Mapping[str, Entry], settings: Mapping[str, Any], results: str | None
) -> dict[str, str]:
    """`_why_anew` of sources in their folders, which have entries. Web servers are asked several at a time."""
    reasons: dict[str, str] = {}
    waiting = deque(places)

    def look() -> None:
        with suppress(IndexError):  # none is left
            while True:
                source = waiting.popleft()
                reasons[source] = _why_anew(entries[name_of(source)], source, places[source], settings, results)

    threads = [threading.Thread(target=look, daemon=True) for _ in range(min(_ASKED_TOGETHER, len(places)))]
    for thread in threads:
        thread.start()
    for thread in threads:  # Ctrl-C leaves them behind
        thread.join()
    return reasons


def _why_anew(entry: Entry, source: str, folder: Path, settings: Mapping[str, Any], results: str | None) -> str:
    """Why a source is processed again; "" where its results are complete."""
    if entry.state != DONE:
        return "not complete"
    if words := differences(entry.settings, settings):
        return words
    if entry.source_state is None or entry.source_state != source_state(source, asks=True):
        return "another source of that name" if entry.source_state is not None else _UNKNOWN
    if not is_in_place(entry, results):
        return "results in another place"
    if not entry.files or not all(_is_there(folder, file) for file in entry.files):
        return "results that are gone or changed"
    return ""


def _is_there(folder: Path, file: ResultFile) -> bool:
    """Whether a result is what it was. One that nobody has touched need not be read."""
    if is_stored(file.name):
        return is_stored_whole(file)
    path = folder / PurePosixPath(file.name).name
    try:
        status = path.stat()
        if status.st_size != file.bytes:
            return False
        return status.st_mtime_ns == file.modified_ns or file_sha256(path) == file.sha256
    except OSError:
        return False


def _bytes_of(source: str) -> int:
    try:
        return os.stat(source).st_size
    except (OSError, ValueError):
        return 0

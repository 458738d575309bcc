"""Manifest: `manifest.jsonl` beside the results of an archive, one line a source, written as each ends.

While a run goes on the last line of a source counts. A run that ends, or begins, leaves one line a source.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mixsynth_stream.archive.entry import Entry
from mixsynth_stream.console import shown
from mixsynth_stream.errors import OutputError
from mixsynth_stream.files import output_error, output_errors, write_whole
from mixsynth_stream.job.lock import FolderLock

log = logging.getLogger(__name__)

NAME = "manifest.jsonl"
_NAMES = re.compile(r"manifest(?:\.\d+-of-\d+)?\.jsonl")
_START = b'{"source":"'


def read_manifest(path: Path) -> list[Entry]:
    """The entries of a manifest, one a source, the latest of each. A last line that is cut off is left out.

    Raises `OutputError` where the file is no manifest, and OSError.
    """
    return list(_latest(_entries(path)[0]))


class Manifest:
    """The manifest of one run: `with Manifest(out) as manifest: manifest.append(entry)`.

    `shard` (number, count) has a file of its own, so that shards on several machines share a folder. `entries` are the
    latest of all manifests in the folder, by source. Raises `OutputError`, also where another run holds this manifest.
    """

    def __init__(self, out: Path, shard: tuple[int, int] | None = None) -> None:
        self.out = out
        self.path = out / (NAME if shard is None else f"manifest.{shard[0]}-of-{shard[1]}.jsonl")
        self.entries: dict[str, Entry] = {}
        self._own: dict[str, Entry] = {}
        self._file: int | None = None
        self._size = self._lines = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Manifest:
        with self._stack:
            self._stack.enter_context(FolderLock(self.out, name=f".{self.path.name}.lock"))
            with output_errors(self.path):
                paths = [path for path in self.out.iterdir() if _NAMES.fullmatch(path.name)]
                paths.sort(key=lambda path: path.stat().st_mtime_ns)
                entries = {path: _entries(path) for path in paths}
            for path in paths:
                self.entries |= {entry.source: entry for entry in entries[path][0]}
            own, is_whole = entries.get(self.path, ([], True))
            if not is_whole:
                log.warning("the last line of %s was cut off, and is left out", shown(self.path))
            self._own = {entry.source: entry for entry in own}
            self._lines = len(own) if is_whole else -1
            self._compact()
            self._stack = self._stack.pop_all()
        return self

    def append(self, entry: Entry) -> None:
        """Write the entry of a source that has ended: all of its line, or, where `OutputError` is raised, nothing."""
        if self._file is None:
            with output_errors(self.path):
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                self._size = os.fstat(self._file).st_size
        line = entry.line()
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise output_error(self.path, error, "the lines before that are kept") from error
        self._size += len(line)
        self._lines += 1
        self.entries[entry.source] = self._own[entry.source] = entry

    def __exit__(self, *_: object) -> None:
        with self._stack:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            self._compact()

    def _compact(self) -> None:
        """Leave one line a source. The file appears whole, so that whoever reads it sees the old one or the new one."""
        if self._lines != len(self._own):
            try:
                write_whole(self.path, b"".join(entry.line() for entry in self._own.values()))
            except OutputError as error:  # the lines that are there say the same
                log.warning("%s", error)
                return
            self._lines = len(self._own)


def _latest(entries: Iterable[Entry]) -> Iterable[Entry]:
    return {entry.source: entry for entry in entries}.values()


def _entries(path: Path) -> tuple[list[Entry], bool]:
    """The entries of a file, and whether its last line is whole."""
    entries = []
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        try:
            entries.append(Entry.of(json.loads(line)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if number == len(lines) - 1 and not line.endswith(b"\n") and line.startswith(_START[: len(line)]):
                return entries, False
            raise OutputError(
                f"line {number + 1} of {shown(path)} is no line of a manifest ({error!r}): mend it, or "
                "move the file away"
            ) from error
    return entries, not lines or lines[-1].endswith(b"\n")

"""Entry: the line of one source in a manifest. docs/archives.md lists its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

DONE, FAILED, SKIPPED = STATES = ("done", "failed", "skipped")
# What a source can fail of: the first five are exceptions of the job, the others befall its process.
CAUSES = (
    *("source", "model", "output", "usage", "error"),
    *("changed", "interrupted", "crash", "timeout", "memory"),
)
# Causes of a process that was lost. A source that does this twice is set aside.
LOSSES = ("crash", "timeout", "memory")


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """A result file, by its path from the manifest's folder, or its URL."""

    name: str
    bytes: int
    sha256: str
    modified_ns: int | None = None  # so that files that nobody has touched need not be hashed again


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What came of one source: `state` is one of `STATES`, `cause` one of `CAUSES` or "" where nothing failed.

    `seconds` is wall-clock time by stage, with `total`. `source_state` is what the source was when it was read (see
    `job.fingerprint`), None where that cannot be known. `settings` are those that its results depend on.
    """

    source: str
    state: str
    reason: str = ""  # a sentence, where it is not done
    cause: str = ""
    attempts: int = 1
    set_aside: bool = False  # it has cost two processes, and later runs leave it alone
    limit: float | None = None  # the seconds or bytes that were too few for it
    folder: str = ""
    files: tuple[ResultFile, ...] = ()
    frames: int = 0
    people: int = 0
    estimator_calls: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    source_state: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> bytes:
        """The entry as a line of JSON."""
        return (json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False) + "\n").encode()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Entry:
        """The entry of a line that was read; fields that this version does not know are left out.

        Raises `KeyError`, `TypeError` and `ValueError` for what is no entry.
        """
        names = {one.name for one in fields(cls)}
        known = {name: value for name, value in record.items() if name in names}
        if known["state"] not in STATES or not isinstance(known["source"], str):
            raise ValueError(f"a manifest's state must be one of {', '.join(STATES)}, found {known['state']!r}")
        known["files"] = tuple(ResultFile(**file) for file in known.get("files", ()))
        return cls(**known)

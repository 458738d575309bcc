"""`source_state`: what a source is now, so that a later run knows whether it is still the same."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from typing import Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.sources.media.stores import is_stored, stored_state

# So much of a file's beginning and of its end is hashed.
_END_BYTES = 1 << 20


def source_state(source: str, *, asks: bool = False) -> dict[str, Any] | None:
    """Size, time of change, and SHA-256 of the first and last megabyte of a file; of pictures, of all of them.

    A name that says all by itself (synthetic:) is its own state; of a file in a store it is what the store says. With
    `asks`, a web server is asked for the size of a file, and its date and tag. None where nobody knows what a name will
    give, as of a pipe, and where there is no such file, or no package that reads it.
    """
    from mixsynth_stream.pipeline.sources.media.names import pictures_behind

    if source.startswith("synthetic:"):
        return {"name": source}
    if source == "-" or ("://" in source and not is_stored(source)):
        return _state_at(source) if asks else None
    try:
        if is_stored(source):
            return stored_state(source)
        pictures = pictures_behind(source)
        return _state_of(pictures or [source])
    except (OSError, ValueError, ModelError):  # ValueError: a name with a zero in it
        return None


def _state_at(address: str) -> dict[str, Any] | None:
    """What a web server says of a file without sending it; None where that does not tell one version from another."""
    from mixsynth_stream.pipeline.sources.media import download

    if address.partition("://")[0].lower() not in download.SCHEMES:
        return None
    try:
        with download.request(address, download.OPEN_S) as answer:
            size, marks = answer.length, {name: answer.headers.get(name) for name in ("ETag", "Last-Modified")}
    except download.FAILURES:
        return None
    return {"bytes": size, **marks} if size and any(marks.values()) else None


def _state_of(files: Sequence[str]) -> dict[str, Any] | None:
    """The state of files that belong together; None where one is no ordinary file."""
    statuses = [os.stat(name) for name in files]
    if not all(stat.S_ISREG(status.st_mode) for status in statuses):
        return None
    digest = hashlib.sha256()
    ends = dict.fromkeys((files[0], files[-1]))
    for name, status in zip(files, statuses, strict=True):
        if len(files) > 1:
            digest.update(
                f"{os.path.basename(name)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace")
            )
        if name in ends:
            with open(name, "rb") as file:
                digest.update(file.read(_END_BYTES))
                if status.st_size > _END_BYTES:
                    file.seek(max(status.st_size - _END_BYTES, _END_BYTES))
                    digest.update(file.read(_END_BYTES))
    return {
        "bytes": sum(status.st_size for status in statuses),
        "modified_ns": max(status.st_mtime_ns for status in statuses),
        "sha256_ends": digest.hexdigest(),
    }

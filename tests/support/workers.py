"""Processes of `run --jobs`: which has a file open, and whether any is left."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

DEADLINE_S = 120


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, as far as they still are."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(path.parent.name))
    return children


def reader_of(file: Path, parent: int) -> int:
    """The child of a process that has a file open. Waits for it."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        for child in children_of(parent):
            with suppress(OSError):
                if any(os.readlink(entry) == str(file) for entry in Path(f"/proc/{child}/fd").iterdir()):
                    return child
        time.sleep(0.01)
    raise TimeoutError(f"nobody reads {file}")


def wait_until(condition: object, what: str) -> None:
    """Until a function is true."""
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)

"""`temporary_folder`: a folder that is gone afterwards; that of a process that was killed goes with the next one."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A younger folder may belong to a process that has not locked it yet, or to one of Ray that outlives its run.
_LEFT_S = 120.0


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A new folder whose name begins with `prefix`. It is locked, so that others see whether its process still is."""
    _remove_left(prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_left(prefix: str) -> None:
    """Remove the folders that nobody holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # another process removes it, or it is somebody else's
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or time.time() - status.st_mtime < _LEFT_S:
                continue
            lock = _lock(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


if sys.platform == "win32":

    def _lock(folder: Path) -> int | None:
        return None  # Windows locks no folders, so none is removed for others

else:
    import fcntl

    def _lock(folder: Path) -> int | None:
        """A descriptor that holds the folder until it is closed; None where another process does, or nobody can."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        return fd

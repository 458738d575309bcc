"""FolderLock: one run at a time in a folder of results. A lock of the operating system, which ends with its process."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from mixsynth_stream.console import shown
from mixsynth_stream.errors import OutputError
from mixsynth_stream.files import output_error, output_errors

log = logging.getLogger(__name__)

NAME = ".mixsynth-stream.lock"
# Errors that mean "another run holds it". All others mean that this file system knows no locks.
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_TRIES = 100
# Folders that runs of this process hold: on network file systems a lock keeps out other processes only.
_own_folders: set[tuple[int, int, str]] = set()
_own_guard = threading.Lock()

if sys.platform == "win32":
    import msvcrt

    # Windows lets nobody read a locked byte, so the one that is locked lies behind the text.
    _BYTE = 1 << 20

    def _lock(fd: int) -> None:
        os.lseek(fd, _BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _remove(fd: int, path: Path) -> None:
        os.close(fd)  # Windows removes no open file
        with suppress(OSError):
            path.unlink()

else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _remove(fd: int, path: Path) -> None:
        with suppress(OSError):
            path.unlink()  # while the lock is held, so that it is nobody else's
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child process may have a copy of the descriptor
        os.close(fd)


class FolderLock:
    """Makes a folder and holds it: `with FolderLock(folder):`. Afterwards the lock's file is gone, and so is the folder
    where it is new and still empty. Locks of other names hold something else in the folder.

    Raises `OutputError` where another run holds the folder or it cannot be made. Where a file system knows no locks,
    there is a warning.
    """

    def __init__(self, folder: Path, *, name: str = NAME) -> None:
        self._folder = folder
        self._path = folder / name
        self._fd: int | None = None
        self._key: tuple[int, int, str] | None = None
        self._new_folders: list[Path] = []

    def __enter__(self) -> FolderLock:
        self._new_folders = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
        try:
            self._fd = self._locked_file()
            self._key = self._own_key()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        if self._fd is not None:
            _remove(self._fd, self._path)
            self._fd = None
        if self._key is not None:
            with _own_guard:
                _own_folders.discard(self._key)
            self._key = None
        for path in self._new_folders:
            try:
                path.rmdir()
            except OSError:  # it has contents
                break

    def _locked_file(self) -> int | None:
        """The descriptor of the lock's file; None, after a warning, where there can be no lock."""
        for _ in range(_TRIES):
            with output_errors(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
            try:
                fd = self._open()
            except FileNotFoundError:  # a run that has just ended has removed the folder
                continue
            if fd is None or not self._is_locked(fd) or _is_file(fd, self._path):
                return fd
            os.close(fd)  # a run that has just ended has removed this file: others will not see our lock on it
        return None

    def _own_key(self) -> tuple[int, int, str]:
        """Note that this process holds the folder, by the numbers that all its names have in common."""
        with output_errors(self._folder):
            status = self._folder.stat()
        key = status.st_dev, status.st_ino, self._path.name
        with _own_guard:
            if key in _own_folders:
                raise self._refusal(str(os.getpid()))
            _own_folders.add(key)
        return key

    def _open(self) -> int | None:
        """The lock's file, open; None, after a warning, where it exists and cannot be opened."""
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
        except FileNotFoundError:
            raise
        except OSError as error:
            if not os.path.lexists(self._path):
                raise output_error(self._folder, error) from error
        # It belongs to another user. As a rule a lock needs no permission to write.
        try:
            return os.open(self._path, os.O_RDONLY | _NO_LINKS)
        except OSError as error:
            self._warn(error)
            return None

    def _is_locked(self, fd: int) -> bool:
        """Lock the file; False, after a warning, where that cannot be done. Closes it where another run holds it."""
        try:
            _lock(fd)
        except OSError as error:
            if error.errno in _HELD:
                holder = _text(fd)
                os.close(fd)
                raise self._refusal(holder) from error
            self._warn(error)
            return False
        with suppress(OSError):  # the number is for the message only
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, b"%d" % os.getpid())
        return True

    def _refusal(self, process: str) -> OutputError:
        holder = f"another run (process {process})" if process.isdecimal() else "another run"
        return OutputError(
            f"{shown(self._folder)} is in use, {holder} writes its results there: wait for its end, or give another "
            "folder (--out)"
        )

    def _warn(self, error: OSError) -> None:
        log.warning(
            "%s cannot be locked (%s): see to it that no other run writes its results there",
            shown(self._folder),
            error.strerror,
        )


def _is_file(fd: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def _text(fd: int) -> str:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, 32).decode("ascii", "replace")
    except OSError:
        return ""

"""The lock of a folder: one run at a time, whoever and wherever it is, and nothing left of it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mixsynth_stream.errors import OutputError
from mixsynth_stream.job import lock
from mixsynth_stream.job.lock import NAME, FolderLock

HOLDER = """
import sys
from pathlib import Path
from mixsynth_stream.job.lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_refused_and_named(tmp_path, holder):
    with pytest.raises(
        OutputError, match=rf"out is in use, another run \(process {holder.pid}\) .* give another folder"
    ):
        FolderLock(tmp_path / "out").__enter__()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(OutputError, match="in use"):
        FolderLock(tmp_path / "link").__enter__()
    holder.communicate("")
    with FolderLock(tmp_path / "out"):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "out" / NAME).exists()
    with FolderLock(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_child_process_that_lives_on_does_not_hold_it(tmp_path):
    """A fork has a copy of every descriptor, and with it of the lock."""
    with FolderLock(tmp_path):
        child = os.fork()
        if not child:
            threading.Event().wait(60)
            os._exit(0)
    try:
        with FolderLock(tmp_path):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_the_same_process_is_refused_too(tmp_path):
    with FolderLock(tmp_path), pytest.raises(OutputError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path / "." / "").__enter__()
    with FolderLock(tmp_path):
        assert (tmp_path / NAME).exists()
    assert not (tmp_path / NAME).exists()


def test_of_many_at_once_one_holds_it(tmp_path):
    """They begin and end in the middle of each other, and each removes the file and the folder when it ends."""
    inside = threading.Semaphore(1)
    counts = {"held": 0, "refused": 0}

    def work(_):
        for _ in range(40):
            try:
                with FolderLock(tmp_path / "a" / "b"):
                    assert inside.acquire(blocking=False), "two at once"
                    counts["held"] += 1
                    inside.release()
            except OutputError:
                counts["refused"] += 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert counts["held"] > 0 and sum(counts.values()) == 320
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_processes_that_begin_and_end_at_once_never_meet(tmp_path):
    code = f"""
import sys
from pathlib import Path
from mixsynth_stream.errors import OutputError
from mixsynth_stream.job.lock import FolderLock
folder = Path({str(tmp_path)!r})
for _ in range(300):
    try:
        with FolderLock(folder / "out"):
            (folder / "inside").mkdir()
            (folder / "inside").rmdir()
    except OutputError:
        pass
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert errors == [""] * 3
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_new_folder_that_stays_empty_goes(tmp_path):
    (tmp_path / "old").mkdir()
    with FolderLock(tmp_path / "old" / "new" / "deep"):
        pass
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]
    with FolderLock(tmp_path / "kept" / "deep"):
        (tmp_path / "kept" / "deep" / "poses.csv").touch()
    assert (tmp_path / "kept" / "deep" / "poses.csv").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_gets_a_warning(tmp_path, monkeypatch, caplog, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock, "_lock", refuse)
    with FolderLock(tmp_path), pytest.raises(OutputError, match="in use"):
        FolderLock(tmp_path).__enter__()  # this process knows all the same
    assert "cannot be locked" in caplog.text and "no other run" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_as_ever(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match=r"file.* cannot be written: .*choose another folder"):
            FolderLock(folder).__enter__()


def test_a_disk_that_is_read_only_is_told_as_ever(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match="that disk is read-only"):
        FolderLock(tmp_path).__enter__()


def test_the_lock_of_another_user_can_be_taken(tmp_path, monkeypatch):
    """After a run of root was killed: the file may be read only, which is enough."""
    real = os.open
    (tmp_path / NAME).touch()

    def read_only(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    with FolderLock(tmp_path), pytest.raises(OutputError, match="in use, another run writes"):
        FolderLock(tmp_path).__enter__()

"""Folders of results on their way into a store: what a killed process leaves, the next one removes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.workers import wait_until

from mixsynth_stream.archive.upload import work_into
from mixsynth_stream.archive.work import Task, work
from mixsynth_stream.job.options import JobOptions

OPTIONS = JobOptions(progress=False)
ENDLESS = """
import sys
from pathlib import Path
from mixsynth_stream.archive.upload import work_into
from mixsynth_stream.archive.work import Task, work
from mixsynth_stream.job.options import JobOptions
folder = Path(sys.argv[1])
task = Task(source="synthetic:seconds=0", folder=folder / "a", out=folder, options=JobOptions(progress=False))
work_into(f"file://{folder}/bucket", task, work)
"""


def work_once(folder: Path) -> None:
    task = Task(source="synthetic:seconds=0.1", folder=folder / "b", out=folder, options=OPTIONS)
    assert work_into(f"file://{folder}/bucket", task, work).entry.state == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_only_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)]) as process:
        wait_until(lambda: list(temporary.glob("mixsynth-results-*/a/poses.jsonl.part")), "it is in work")
        (folder,) = temporary.glob("mixsynth-results-*")
        os.utime(folder, (0, 0))
        work_once(tmp_path)
        assert folder.is_dir(), "its process still is"
        process.kill()
    work_once(tmp_path)
    assert not folder.exists()
    assert not list(temporary.glob("mixsynth-*"))


def test_a_young_folder_may_be_in_use_before_it_is_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    young = tmp_path / "mixsynth-results-young"
    young.mkdir()
    work_once(tmp_path)
    assert young.is_dir()

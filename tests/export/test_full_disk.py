"""A disk that fills up in the middle of the work: one sentence, exit code 1, and what was written stays readable."""

from __future__ import annotations

import json
import subprocess
import sys

import av
import pytest
from pyarrow.parquet import read_table
from support.command_line import run_apart

SOURCE = "synthetic:seconds=20"
LIMIT_BYTES = 200_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for 200 kB, where mounting one is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={LIMIT_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here; the tests with a limit a file do run")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a search of the disk may be in it


def run_with_limit(*arguments):
    """The command in a process that may not write a file of more than 200 kB: needs no rights."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT_BYTES}, {LIMIT_BYTES})); "
        "from mixsynth_stream.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def one_sentence(result, *words):
    """Exit code 1 and an error of one line that holds `words`."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("mixsynth-stream: ")]
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert len(errors) == 1, result.stderr
    assert all(word in errors[0] for word in words), errors[0]


def readable_lines(folder):
    """Whole JSON lines of a file that is complete or was cut off."""
    text = next(folder.glob("poses.jsonl*")).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_full_disk_keeps_what_was_written(small_disk):
    result = run_apart("run", SOURCE, "--out", str(small_disk / "out"), "--quiet")
    one_sentence(result, "poses.jsonl", "the disk is full")
    assert len(readable_lines(small_disk / "out")) > 10


@pytest.mark.parametrize("kind", ["csv", "npz", "trc"])
def test_every_format_says_that_the_disk_is_full(small_disk, kind):
    result = run_apart("run", SOURCE, "--out", str(small_disk / "out"), "--quiet", "--format", kind)
    one_sentence(result, f".{kind} ", "the disk is full")


def test_small_files_of_parquet_stay_on_a_full_disk(small_disk):
    options = ("--quiet", "--format", "parquet", "--horizon", "0", "--max-people", "1")
    result = run_apart("run", SOURCE, "--out", str(small_disk / "out"), *options)
    one_sentence(result, "poses.parquet ", "the disk is full", "kept in")
    rows = read_table(small_disk / "out" / "poses.parquet.part")
    assert len(rows) >= 256 and rows["frame"].to_pylist() == list(range(len(rows)))


def test_the_overlay_on_a_full_disk(small_disk):
    result = run_apart("run", SOURCE, "--out", str(small_disk / "out"), "--quiet", "--overlay", "--format", "trc")
    one_sentence(result, "the disk is full")


def test_a_limit_on_files_is_told_like_a_full_disk(tmp_path):
    result = run_with_limit("run", SOURCE, "--out", tmp_path / "out", "--quiet")
    one_sentence(result, "poses.jsonl")
    assert len(readable_lines(tmp_path / "out")) > 10


def test_the_overlay_up_to_a_limit_on_files(tmp_path):
    """What fitted into the video can be played."""
    result = run_with_limit("run", SOURCE, "--out", tmp_path / "out", "--quiet", "--overlay", "--format", "trc")
    one_sentence(result)
    video = next((tmp_path / "out").glob("overlay.mp4*"))
    with av.open(str(video), format="mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) > 0

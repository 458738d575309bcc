"""Standard streams that are closed, full or broken, as under cron, in daemons and behind `head`: nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixsynth_stream.files import ASSETS

COMMAND = [sys.executable, "-m", "mixsynth_stream"]
RUN = ["run", str(ASSETS / "demo.mp4"), "--limit-frames", "25", "--format", "jsonl,csv,npz", "--overlay", "--plot"]
NAMES = {"overlay.mp4", "plot.png", "poses.csv", "poses_forecast.csv", "poses.jsonl", "poses.npz"}
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's disk without room")
# The exit code must not depend on how Python buffers.
BUFFERING = {"buffered": {"PYTHONUNBUFFERED": ""}, "unbuffered": {"PYTHONUNBUFFERED": "1"}}


def run(redirection: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it, such as with `2>&-`, which closes standard error."""
    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *arguments]
    return subprocess.run(
        shell, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )


def frames_of(folder: Path) -> int:
    return sum("index" in json.loads(line) for line in (folder / "poses.jsonl").read_text().splitlines())


def assert_whole(folder: Path) -> None:
    """All results, with all frames: the first keyframe after the 25 ends the work."""
    assert {path.name for path in folder.iterdir()} == NAMES
    assert frames_of(folder) == 25
    assert len((folder / "poses.csv").read_text().splitlines()) == 1 + 25 * 33


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_streams_is_complete(tmp_path, redirection):
    result = run(redirection, *RUN, "--out", str(tmp_path / "out"))
    assert result.returncode == 0 and "Traceback" not in result.stderr
    assert_whole(tmp_path / "out")


@needs_dev_full
@pytest.mark.parametrize("environment", BUFFERING.values(), ids=BUFFERING)
def test_a_full_disk_under_the_log_does_not_end_a_run(tmp_path, environment):
    result = run("2>/dev/full", *RUN, "--out", str(tmp_path / "out"), **environment)
    assert result.returncode == 0
    assert_whole(tmp_path / "out")


def test_a_log_that_nobody_reads_does_not_end_a_run(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [*COMMAND, *RUN, "--out", str(tmp_path / "out")]
    try:
        result = subprocess.run(command, stderr=write, stdout=subprocess.PIPE, timeout=120, check=False)
    finally:
        os.close(write)
    assert result.returncode == 0
    assert_whole(tmp_path / "out")


def test_demo_with_closed_streams_is_complete(tmp_path):
    arguments = ["demo", "--limit-frames", "25", "--out", str(tmp_path / "out")]
    result = run("<&- >&- 2>&-", *arguments)
    assert result.returncode == 0
    assert_whole(tmp_path / "out")


def test_a_script_without_streams_is_complete(tmp_path):
    """As pythonw and daemons run it: the numbers 0 to 2 are free, and files that are opened would get them."""
    script = f"""
from pathlib import Path
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.process import process
options = JobOptions(formats=("jsonl", "csv", "npz"), overlay=True, plot=True, limit_frames=25)
process({RUN[1]!r}, Path({str(tmp_path / "out")!r}), options)
"""
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script]
    assert subprocess.run(shell, timeout=120, check=False).returncode == 0
    assert_whole(tmp_path / "out")


def test_poses_for_a_closed_standard_output_are_refused():
    result = run(">&-", "run", "synthetic:seconds=1")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "mixsynth-stream: standard output is closed, so that poses have nowhere to go: give a folder (--out DIR)"
    ]


def test_poses_come_whole_where_standard_error_is_closed():
    result = run("2>&-", "run", "synthetic:seconds=1")
    assert result.returncode == 0
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 31


@pytest.mark.parametrize("arguments", [["info"], ["--help"], ["--version"], ["run", "--help"]])
@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_words_for_closed_streams_are_no_error(arguments, redirection):
    result = run(redirection, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert bool(result.stdout) == (">&- " not in f"{redirection} ".replace("2>&- ", ""))


@needs_dev_full
@pytest.mark.parametrize("environment", BUFFERING.values(), ids=BUFFERING)
@pytest.mark.parametrize("arguments", [["info"], ["--help"], ["--version"], ["run", "synthetic:seconds=1"]])
def test_standard_output_on_a_full_disk_is_told_in_a_sentence(arguments, environment):
    result = run(">/dev/full", *arguments, **environment)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("mixsynth-stream: ")]
    assert "standard output cannot be written" in line and "Traceback" not in result.stderr


@pytest.mark.parametrize(("arguments", "code"), [(["fly"], 2), (["run", "missing.mp4"], 3)])
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_an_error_that_nobody_hears_keeps_its_exit_code(arguments, code, redirection):
    result = run(redirection, *arguments)
    assert (result.returncode, result.stdout) == (code, "")


def test_a_video_from_a_closed_standard_input_is_told_in_a_sentence():
    result = run("<&-", "run", "-")
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1 and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
    ids=["PYTHONIOENCODING", "LC_ALL"],
)
def test_an_alphabet_of_ascii_takes_names_of_all_scripts(tmp_path, environment):
    source = tmp_path / "ビデオ.mp4"
    source.write_bytes((ASSETS / "demo.mp4").read_bytes())
    lines = run("", "run", str(source), "--limit-frames", "3", **environment)
    assert lines.returncode == 0, lines.stderr
    assert json.loads(lines.stdout.splitlines()[0])["source"] == str(source)
    demo = run("", "demo", "--limit-frames", "3", "--out", str(tmp_path / "étude"), **environment)
    assert demo.returncode == 0, demo.stderr
    assert "tude" in demo.stdout
    info = run("", "info", **environment)
    assert info.returncode == 0, info.stderr

"""A folder of results that was used before, or is in use: it holds the files of one run, whole, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.command_line import run_apart

from mixsynth_stream.cli import main
from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.export import FORMATS
from mixsynth_stream.export.csv_long import CsvSink
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.process import process

EVERYTHING = JobOptions(formats=FORMATS, overlay=True, plot=True, progress=False)
ONE_PERSON = "synthetic:seconds=1"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def frames_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with all results of a run, and a file of the user."""
    folder = tmp_path_factory.mktemp("used") / "out"
    process("synthetic:seconds=2&people=2", folder, EVERYTHING)
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def used(tmp_path, results):
    """A copy of it."""
    return shutil.copytree(results, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (JobOptions(progress=False), {"poses.jsonl"}),
        (JobOptions(formats=("csv",), horizon_s=0.0, progress=False), {"poses.csv"}),
        (JobOptions(formats=("trc",), progress=False), {"poses_person0.trc"}),
        (JobOptions(formats=("npz",), plot=True, progress=False), {"poses.npz", "plot.png"}),
        (JobOptions(formats=(), overlay=True, progress=False), {"overlay.mp4"}),
    ],
    ids=["jsonl", "csv", "trc", "npz and plot", "overlay"],
)
def test_a_second_run_leaves_nothing_of_the_first(used, options, expected):
    process(ONE_PERSON, used, options)
    assert names(used) == expected | {"notes.txt"}


def test_the_subfolders_of_several_sources_hold_one_run_each(tmp_path):
    out = tmp_path / "out"
    sources = [ONE_PERSON, "synthetic:seconds=2"]
    assert main(["run", *sources, "--out", str(out), "--quiet", "--format", "csv,trc"]) == 0
    assert main(["run", *sources, "--out", str(out), "--quiet"]) == 0
    assert names(out) == {"synthetic:seconds=1", "synthetic:seconds=2", "manifest.jsonl"}
    assert [names(out / source) for source in sources] == [{"poses.jsonl"}] * 2


def test_what_a_killed_run_left_goes_when_new_results_get_their_names(used):
    before = contents(used)
    command = [sys.executable, "-m", "mixsynth_stream", "run", "synthetic:seconds=0", "--out", str(used), "--overlay"]
    with subprocess.Popen([*command, "--format", "jsonl,npz,trc", "--quiet"]) as running:
        wait_for(used / "poses_person0.trc.part", 20_000)
        running.kill()
    assert {name: data for name, data in contents(used).items() if name in before} == before, "the old set is whole"
    assert any(name.endswith(".part") for name in names(used))
    process(ONE_PERSON, used, JobOptions(formats=("csv",), horizon_s=0.0, progress=False))
    assert names(used) == {"poses.csv", "notes.txt"}


def wait_for(path: Path, size: int) -> None:
    """Until a file has grown to `size`, a minute at most."""
    end = time.monotonic() + 60
    while time.monotonic() < end and not (path.exists() and path.stat().st_size > size):
        time.sleep(0.01)
    assert path.stat().st_size > size


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["missing.mp4"], 3),
        ([ONE_PERSON, "--every", "7"], 4),
        ([ONE_PERSON, "--backend", "abacus"], 2),
        ([ONE_PERSON, "--estimates", "missing.npz"], 4),
    ],
)
def test_a_run_that_does_not_begin_destroys_nothing(used, arguments, code):
    before = contents(used)
    result = run_apart("run", *arguments, "--out", str(used), "--format", "jsonl,csv,npz,trc", "--overlay")
    assert result.returncode == code, result.stderr
    assert contents(used) == before


def test_a_run_that_fails_at_its_first_frame_destroys_nothing(used, monkeypatch):
    def fail(*_):
        raise ModelError("it broke")

    before = contents(used)
    monkeypatch.setattr("mixsynth_stream.pipeline.estimators.supervised.SupervisedEstimator._look", fail)
    with pytest.raises(ModelError):
        process(ONE_PERSON, used, EVERYTHING)
    assert contents(used) == before


def test_a_run_that_breaks_off_later_keeps_what_it_has_written(used, monkeypatch):
    real, calls = CsvSink.write, []

    def fail(sink, motion):
        calls.append(motion)
        if len(calls) > 5:
            raise OutputError("the disk is full")
        real(sink, motion)

    monkeypatch.setattr(CsvSink, "write", fail)
    with pytest.raises(OutputError, match="full"):
        process(ONE_PERSON, used, JobOptions(formats=("csv", "jsonl"), horizon_s=0.0, progress=False))
    assert names(used) == {"poses.csv", "poses.jsonl", "notes.txt"}
    assert len(frames_of(used / "poses.jsonl")) == 5


def test_a_file_of_the_user_in_the_way_is_refused_before_any_work(tmp_path):
    (tmp_path / "poses.csv").write_text("a,b\n1,2\n")
    result = run_apart("run", "missing.mp4", "--out", str(tmp_path), "--format", "csv")
    assert result.returncode == 1
    assert "poses.csv would be written over, and it is no result of mixsynth-stream" in result.stderr
    assert contents(tmp_path) == {"poses.csv": b"a,b\n1,2\n"}


@pytest.mark.parametrize("options", [[], ["--overlay"]])
def test_a_result_that_is_the_source_is_refused(used, options):
    before = contents(used)
    result = run_apart("run", str(used / "overlay.mp4"), "--out", str(used), *options)
    assert result.returncode == 2
    assert "overlay.mp4 is the source itself and would be overwritten: give another folder" in result.stderr
    assert contents(used) == before


def test_demo_replaces_what_an_earlier_demo_left(used):
    result = run_apart("demo", "--out", str(used), "--limit-frames", "12", "--quiet")
    assert result.returncode == 0, result.stderr
    expected = {"overlay.mp4", "plot.png", "poses.csv", "poses_forecast.csv", "poses.jsonl", "poses.npz", "notes.txt"}
    assert names(used) == expected


def test_of_two_runs_at_once_the_second_is_refused_and_the_first_is_whole(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mixsynth_stream", "run", "synthetic:seconds=0", "--out", str(out), "--overlay"]
    with subprocess.Popen([*command, "--quiet"], stderr=subprocess.PIPE, text=True) as first:
        wait_for(out / "poses.jsonl.part", 20_000)
        second = run_apart("run", ONE_PERSON, "--out", str(out / ".." / "out"), "--format", "csv,npz", "--overlay")
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 130, first.stderr.read()
    assert second.returncode == 1
    lines = second.stderr.splitlines()
    assert len(lines) == 1 and f"out is in use, another run (process {first.pid})" in lines[0], second.stderr
    frames = frames_of(out / "poses.jsonl")
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert names(out) == {"overlay.mp4", "poses.jsonl"}


def test_a_killed_run_can_be_started_again_at_once(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mixsynth_stream", "run", "synthetic:seconds=0", "--out", str(out), "--quiet"]
    with subprocess.Popen(command) as first:
        wait_for(out / "poses.jsonl.part", 20_000)
        os.kill(first.pid, signal.SIGKILL)
    result = run_apart("run", ONE_PERSON, "--out", str(out), "--quiet")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(frames_of(out / "poses.jsonl")) == 30
    assert names(out) == {"poses.jsonl"}


def test_of_two_threads_one_is_refused(tmp_path):
    outcomes = []

    def work():
        try:
            process("synthetic:seconds=4", tmp_path / "out", JobOptions(formats=("npz",), progress=False))
            outcomes.append("done")
        except OutputError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("done") == 1 and "in use" in "".join(outcomes)
    with np.load(tmp_path / "out" / "poses.npz") as arrays:
        assert len(arrays["frame_index"]) == 120
    assert names(tmp_path / "out") == {"poses.npz"}

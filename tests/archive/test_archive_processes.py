"""`run --jobs`: the results of one process, whatever happens to others; each test runs the command as its user does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import clips
from support.command_line import run_apart
from support.workers import children_of, reader_of, wait_until

from mixsynth_stream.archive.entry import Entry
from mixsynth_stream.archive.manifest import read_manifest
from mixsynth_stream.files import file_sha256

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the test looks into /proc")
ENDLESS = ("synthetic:seconds=0", "synthetic:seconds=0&people=2")
COMMAND = [sys.executable, "-m", "mixsynth_stream", "run"]


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def entries_of(out: Path) -> dict[str, Entry]:
    return {entry.source: entry for entry in read_manifest(out / "manifest.jsonl")}


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob("*/*")}


def frames_in(path: Path) -> int:
    """The whole lines of poses so far, without the header."""
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


def test_results_are_the_bytes_of_one_by_one(tmp_path):
    sources = [str(clips.PERSON), "synthetic:seconds=1&people=2"]
    formats = ["--format", "jsonl,npz", "--quiet"]
    assert run_apart("run", *sources, "--out", str(tmp_path / "one"), *formats).returncode == 0
    assert run_apart("run", *sources, "--out", str(tmp_path / "many"), *formats, "--jobs", "2").returncode == 0
    alone = run_apart("run", sources[0], "--out", str(tmp_path / "alone" / "person"), *formats)
    assert alone.returncode == 0, alone.stderr
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
    assert contents(tmp_path / "alone").items() <= contents(tmp_path / "one").items()
    for out in (tmp_path / "one", tmp_path / "many"):
        entries = entries_of(out)
        assert set(entries) == set(sources) and {entry.state for entry in entries.values()} == {"done"}
        files = [file for entry in entries.values() for file in entry.files]
        assert {file.name for file in files} == set(contents(out))
        assert all(file_sha256(out / file.name) == file.sha256 for file in files)
        person = entries[sources[0]]
        assert (person.frames, person.people, person.estimator_calls) == (50, 1, 6)
        assert person.seconds["total"] > person.seconds["estimator"] > 0


@needs_proc
def test_a_file_that_crashes_its_process_twice_is_set_aside_and_all_others_are_complete(tmp_path):
    crash, garbage, out = tmp_path / "crash.mp4", tmp_path / "garbage.mp4", tmp_path / "out"
    os.mkfifo(crash)
    garbage.write_bytes(os.urandom(50_000))
    writer = os.open(crash, os.O_RDWR)  # so that its reader waits for data
    sources = [crash, "synthetic:seconds=1", garbage, "synthetic:seconds=2"]
    with start(*sources, "--out", out, "--jobs", "2") as process:
        first = reader_of(crash, process.pid)
        os.kill(first, signal.SIGSEGV)
        wait_until(lambda: first not in children_of(process.pid), "the process that crashed has ended")
        os.kill(reader_of(crash, process.pid), signal.SIGSEGV)
        errors = process.communicate(timeout=120)[1]
    os.close(writer)
    assert process.returncode == 3 and "2 of 4 sources failed; the others are complete" in errors, errors
    assert "crash.mp4: its process was ended by SIGSEGV, twice: it is set aside" in errors
    entries = entries_of(out)
    assert [entries[str(source)].state for source in sources] == ["failed", "done", "failed", "done"]
    assert (entries[str(crash)].cause, entries[str(crash)].attempts) == ("crash", 2)
    assert entries[str(garbage)].cause == "source" and "is not a video" in entries[str(garbage)].reason
    later = run_apart("run", *map(str, sources[:2]), "--out", str(out))
    assert later.returncode == 3 and "crash.mp4: its process was ended by SIGSEGV" in later.stderr, (
        "nobody opens it again"
    )


@pytest.mark.parametrize(
    ("limits", "cause", "words"),
    [
        (["--timeout-per-file", "0.5"], "timeout", "it took longer than 0.5 s (--timeout-per-file), twice"),
        (["--memory-per-job", "30M"], "memory", "took more than 30 MB of memory (--memory-per-job), twice"),
    ],
    ids=["time", "memory"],
)
def test_a_file_that_takes_too_much_ends_and_is_named(tmp_path, limits, cause, words):
    result = run_apart("run", ENDLESS[0], "--out", str(tmp_path), "--quiet", *limits)
    assert result.returncode == 3 and words in result.stderr, result.stderr
    (entry,) = entries_of(tmp_path).values()
    assert (entry.cause, entry.set_aside, entry.attempts) == (cause, True, 2)


@needs_proc
def test_a_run_that_is_stopped_stops_its_processes_and_no_limit_goes_on(tmp_path):
    out, limit_s = tmp_path / "out", 6.0
    limits = ("--timeout-per-file", limit_s, "--retries", "0")
    with start(*ENDLESS, "--out", out, "--jobs", "2", "--quiet", *limits) as process:
        partial = [out / name / "poses.jsonl.part" for name in ENDLESS]
        wait_until(lambda: min(map(frames_in, partial)) > 5, "both are in work")
        workers = children_of(process.pid)
        process.send_signal(signal.SIGTSTP)
        wait_until(lambda: {state_of(one) for one in (process.pid, *workers)} == {"T"}, "all have stopped")
        frames = [frames_in(path) for path in partial]
        time.sleep(limit_s)  # what counts is that nothing happens
        assert [frames_in(path) for path in partial] == frames
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: all(frames_in(path) > n for path, n in zip(partial, frames, strict=True)), "both go on")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert [entry.cause for entry in entries_of(out).values()] == ["interrupted"] * 2


def state_of(pid: int) -> str:
    """The letter of a process's state: T, where it has stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_finished_files_and_partial_ones_readable_and_no_process(tmp_path, number):
    out = tmp_path / "out"
    partial = [out / name / "poses.jsonl" for name in ("synthetic:seconds=0", "synthetic:seconds=0&people=2")]
    with start("synthetic:seconds=1", *ENDLESS, "--out", out, "--jobs", "2", "--quiet") as process:
        wait_until(lambda: min(frames_in(path.with_suffix(".jsonl.part")) for path in partial) > 5, "both are in work")
        second = run_apart("run", "synthetic:seconds=1", "--out", str(out), "--jobs", "1")
        workers = children_of(process.pid)
        for worker in workers if number == signal.SIGTERM else ():  # as schedulers do
            os.kill(worker, number)
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
    assert second.returncode == 1 and f"in use, another run (process {process.pid})" in second.stderr
    wait_until(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers), "no process is left")
    assert len(workers) == 2 and all(frames_in(path) > 5 for path in partial)
    for path in partial:
        assert [json.loads(line)["index"] for line in path.read_text().splitlines()[1:]] == list(range(frames_in(path)))
    entries = entries_of(out)
    assert entries["synthetic:seconds=1"].state == "done"
    if number != signal.SIGKILL:
        assert process.returncode == 130 and errors.endswith("interrupted; what was written so far is complete\n")
        assert [entries[source].cause for source in ENDLESS] == ["interrupted"] * 2
        assert [entries[source].frames >= frames_in(path) for source, path in zip(ENDLESS, partial, strict=True)] == [
            True
        ] * 2
    assert not [name for name in os.listdir(out) if name.endswith(".part")]

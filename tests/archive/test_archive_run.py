"""An archive in this process: what a run says, keeps and refuses."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from contextlib import closing
from pathlib import Path

import pytest
from support import clips

from mixsynth_stream.archive.engine import Assignment, one_by_one
from mixsynth_stream.archive.entry import DONE, FAILED, Entry
from mixsynth_stream.archive.limits import Limits, next_attempt
from mixsynth_stream.archive.manifest import Manifest, read_manifest
from mixsynth_stream.archive.plan import Plan
from mixsynth_stream.archive.progress import ArchiveProgress
from mixsynth_stream.archive.step import Step
from mixsynth_stream.archive.work import Task, work
from mixsynth_stream.cli import main
from mixsynth_stream.errors import OutputError
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.options import JobOptions

OPTIONS = JobOptions(progress=False)
SHORT, LONG = "synthetic:seconds=1", "synthetic:seconds=1&people=2"


def task_of(source: object, out: Path, **more: object) -> Task:
    return Task(source=str(source), folder=out / "clip", out=out, options=OPTIONS, **more)


def states(out: Path, name: str = "manifest.jsonl") -> dict[str, str]:
    return {entry.source: entry.state for entry in read_manifest(out / name)}


def test_a_source_that_changes_while_it_is_read_is_tried_again_and_never_called_complete(tmp_path):
    source = Path(shutil.copy(clips.PERSON, tmp_path / "clip.mp4"))
    outcome = work(task_of(source, tmp_path), on_result=lambda result: os.utime(source, ns=(0, result.stats.frames)))
    assert (outcome.entry.state, outcome.entry.cause) == (FAILED, "changed")
    assert "changed while it was read" in outcome.entry.reason and outcome.entry.files
    attempts = iter([True, False])

    def write(*_):
        if next(attempts, False):
            os.utime(source)
        return real()

    real = source.stat
    tasks = deque([task_of(source, tmp_path)])
    with pytest.MonkeyPatch.context() as patch, Interrupt() as interrupt, interrupt.held():
        patch.setattr("mixsynth_stream.archive.work.result_files", lambda folder, out: [])
        patch.setattr("mixsynth_stream.export.jsonl.JsonlSink._finish", _then(write))
        assignment = Assignment(
            tasks=tasks, limits=Limits(retries=1), interrupt=interrupt, on_step=lambda task, step: None
        )
        with closing(one_by_one(assignment)) as outcomes:
            entries = [outcome.entry for outcome in outcomes]
    assert [(entry.state, entry.attempts) for entry in entries] == [(DONE, 2)]


def _then(action):
    from mixsynth_stream.export.jsonl import JsonlSink

    finish = JsonlSink._finish

    def both(sink):
        finish(sink)
        action()

    return both


@pytest.mark.parametrize(
    ("cause", "source", "tries"),
    [
        *((cause, "a.mp4", 2) for cause in ("crash", "timeout", "memory")),
        *((cause, "http://host/a.mp4", 1) for cause in ("model", "output", "usage", "error", "interrupted")),
        ("source", "a.mp4", 1),
        ("source", "http://host/a.mp4", 4),
        ("changed", "a.mp4", 4),
    ],
)
def test_what_may_pass_is_tried_again_and_a_lost_process_gets_one_more(tmp_path, cause, source, tries):
    entry = Entry(source=source, state=FAILED, cause=cause)
    task, count = task_of(source, tmp_path), 0
    while task is not None:
        count += 1
        task = next_attempt(task, entry, Limits(retries=3))
    assert count == tries


def test_a_fault_of_ours_costs_its_file_only(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a fault")

    monkeypatch.setattr("mixsynth_stream.archive.work.process", fail)
    entry = work(task_of(SHORT, tmp_path)).entry
    assert (entry.state, entry.cause, entry.reason) == (FAILED, "error", "RuntimeError: a fault")


def test_several_files_have_a_manifest_and_are_not_made_twice(tmp_path, capsys):
    out, garbage = tmp_path / "out", tmp_path / "garbage.mp4"
    garbage.write_bytes(b"\0" * 2000)
    run = ["run", SHORT, str(garbage), LONG, "--out", str(out)]
    assert main(run) == 3
    assert states(out) == {SHORT: "done", str(garbage): "failed", LONG: "done"}
    before = (out / SHORT / "poses.jsonl").stat().st_mtime_ns
    capsys.readouterr()
    assert main(run) == 3
    text = capsys.readouterr().err
    assert "2 of 3 sources are complete already; --again" in text and "1 of 3 sources failed" in text
    assert (out / SHORT / "poses.jsonl").stat().st_mtime_ns == before
    assert main(["run", SHORT, LONG, "--out", str(out), "--max-people", "1"]) == 0
    assert "2 of 2 sources are made anew: another max people" in capsys.readouterr().err
    assert main(["run", SHORT, LONG, "--out", str(out), "--max-people", "1", "--again", "--quiet"]) == 0
    assert (out / SHORT / "poses.jsonl").stat().st_mtime_ns > before and capsys.readouterr().err == ""
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 3


def test_shards_of_a_list_make_the_whole_archive(tmp_path):
    sources = [f"synthetic:seconds=1&rate={number}" for number in range(11, 16)]
    (tmp_path / "list.csv").write_text("id,clip\n" + "".join(f"1,{source}\n" for source in sources))
    listed = [
        "--sources-from",
        str(tmp_path / "list.csv"),
        "--column",
        "clip",
        "--out",
        str(tmp_path / "out"),
        "--quiet",
    ]
    for number in (1, 2):
        assert main(["run", *listed, "--shard", f"{number}/2"]) == 0
    shards = [states(tmp_path / "out", f"manifest.{number}-of-2.jsonl") for number in (1, 2)]
    assert sorted([*shards[0], *shards[1]]) == sources and all(shards)
    assert main(["run", *listed]) == 0
    assert not (tmp_path / "out" / "manifest.jsonl").exists(), "all are complete"


def test_a_full_disk_ends_the_run_and_keeps_what_is_complete(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from mixsynth_stream.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    sources = [SHORT, "synthetic:seconds=9", LONG]
    command = [sys.executable, "-c", code, "run", *sources, "--out", str(tmp_path), "--jobs", "1", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
    assert re.search(r"poses.jsonl cannot be written: .*\(1 sources were not started\)", result.stderr), result.stderr
    assert states(tmp_path) == {SHORT: "done", sources[1]: "failed"}
    assert len((tmp_path / "synthetic:seconds=9" / "poses.jsonl").read_text().splitlines()) > 5
    assert [json.loads(line)["index"] for line in (tmp_path / SHORT / "poses.jsonl").read_text().splitlines()[1:]]


def test_a_manifest_that_takes_no_line_ends_the_run_and_the_results_stay(tmp_path, monkeypatch, capsys):
    def fail(manifest, entry):
        raise OutputError(f"{manifest.path} cannot be written: the disk is full")

    monkeypatch.setattr(Manifest, "append", fail)
    assert main(["run", SHORT, LONG, "--out", str(tmp_path), "--quiet"]) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "the disk is full (1 sources were not started)" in text, text
    assert (tmp_path / SHORT / "poses.jsonl").exists() and not (tmp_path / LONG).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "x"], 2, "are required: SOURCE or --sources-from FILE"),
        (["--sources-from", "no.txt", "--out", "x"], 2, "no.txt cannot be read"),
        ([SHORT, "--jobs", "2"], 2, "give --out DIR"),
        ([SHORT, "--jobs", "0", "--out", "x"], 2, "at least 1"),
        ([SHORT, "--column", "a", "--out", "x"], 2, "--column is for --sources-from"),
        ([SHORT, "--jobs", "2", "--out", "x", "--view", "web"], 2, "--view is for sources that are watched"),
        ([SHORT, "--jobs", "2", "--out", "x", "--send", "ws://1"], 2, "--send is for sources that are watched"),
        ([SHORT, "--shard", "3/2", "--out", "x"], 2, "expected I/N with I from 1 to N, such as 3/8, found '3/2'"),
        ([SHORT, "--shard", "0/2", "--out", "x"], 2, "expected I/N"),
        ([SHORT, "--memory-per-job", "lots", "--out", "x"], 2, "expected a size such as 800M or 2G"),
        ([SHORT, "--again", "--resume", "--out", "x"], 2, "not allowed with"),
        (["*.mp4", "--jobs", "2", "--out", "x"], 3, "no file matches *.mp4"),
        ([SHORT, LONG, "--model", "huge", "--out", "x"], 4, "there is no pose model 'huge'"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    try:
        result = main(["run", *arguments])
    except SystemExit as end:
        result = end.code
    text = capsys.readouterr().err
    assert result == code and words in text and text.count("\n") == 1, text
    assert not list(tmp_path.iterdir())


def test_the_line_of_all_has_files_failures_rate_people_and_the_time_left(tmp_path):
    now_s, text = [0.0], io.StringIO()
    tasks = [task_of(f"{number}.mp4", tmp_path, bytes=100) for number in range(4)]
    complete = [Entry(source="old.mp4", state=DONE, people=2)]
    progress = ArchiveProgress(Plan({}, tasks, complete), to=text, clock=lambda: now_s[0])
    progress.end(Entry(source="0.mp4", state=DONE, frames=50, people=1))
    progress.end(Entry(source="1.mp4", state=FAILED))
    now_s[0] = 10.0
    progress.step(tasks[2], Step(frames=50, expected_frames=100, people=3))
    assert text.getvalue() == "2/5 files  1 in work  1 failed  10 frames/s  6 people  6 s left\n"
    now_s[0] = 20.0
    progress.step(tasks[2], None)
    assert text.getvalue().splitlines()[1].startswith("2/5 files  0 in work  1 failed")

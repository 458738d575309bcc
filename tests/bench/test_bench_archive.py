"""`bench archive`: its clips, what it sees of a run, and the gate before its figures."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import av
import pytest
from support import clips

from mixsynth_stream.bench.archive import ArchiveRun, difference, make_clips, run
from mixsynth_stream.cli import main


def test_clips_are_of_2_to_10_seconds(tmp_path):
    paths = make_clips([clips.PERSON], 5, str(tmp_path))
    seconds = []
    for path in paths:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            seconds.append(float(sum(1 for _ in container.decode(stream)) / stream.average_rate))
    assert seconds == pytest.approx([2, 4, 6, 8, 10], abs=0.3)


def test_a_run_is_seen_from_outside_and_a_process_is_ended_in_a_file(tmp_path):
    crash = tmp_path / "crash.mp4"
    os.mkfifo(crash)
    writer = os.open(crash, os.O_RDWR)
    options = ["--jobs", "1", "--quiet"]
    bad = run([crash, Path("synthetic:seconds=1")], tmp_path / "bad", options, crash=crash)
    os.close(writer)
    assert bad.code == 3 and {entry["cause"] for entry in bad.entries} == {"crash", ""}
    good = run([Path("synthetic:seconds=1")], tmp_path / "good", options)
    assert good.code == 0 and list(good.hashes) == ["synthetic:seconds=1/poses.jsonl"]
    assert 20 < good.peak_mb() < 1000 and good.cpu_s > 0.1
    assert difference([good, good], 1) == ""
    assert "code 3 and 1 of 2 files complete" in difference([bad], 2)
    file = good.entries[0]["files"][0] | {"sha256": "other"}
    other = replace(good, entries=[good.entries[0] | {"files": [file]}])
    assert "1 results differ from those of another run, such as synthetic:seconds=1/poses.jsonl" in difference(
        [good, other], 1
    )


def test_memory_is_that_of_a_part_of_the_run():
    seen = ArchiveRun(seconds=3.0, samples=[(0.5, 1 << 20), (1.5, 3 << 20), (2.5, 2 << 20)])
    assert [seen.peak_mb(), seen.peak_mb(2 / 3), seen.peak_mb(0, 1 / 3)] == [3, 2, 1]


def test_numbers_that_measure_nothing_are_refused(capsys):
    assert main(["bench", "archive", "--clips", "3"]) == 2
    assert "--clips must be at least 4" in capsys.readouterr().err

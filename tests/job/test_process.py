"""The job: folders of results, the limit of frames, and a script that runs it."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import Outputs, folders
from mixsynth_stream.job.process import JobInterrupted, JobResult, first_frames, process
from mixsynth_stream.job.summary import summary_line
from mixsynth_stream.pipeline import steps
from mixsynth_stream.pipeline.engine import Engine
from mixsynth_stream.pipeline.sources.synthetic import SyntheticEstimator, SyntheticReader
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.pipeline.timeline import Timeline


def test_one_source_writes_into_the_folder_several_into_one_each():
    out = Path("out")
    assert folders(["x/a.mp4"], out) == [out]
    assert folders(["x/a.mp4", "y/a.mp4", "b.avi"], out) == [out / "a", out / "a-2", out / "b"]
    assert folders(["a.mp4", "b.mp4"], None) == [None, None]


@pytest.mark.parametrize(("frames", "ending"), [(0, "nobody was seen"), (3, "; results in out")])
def test_a_summary_names_a_folder_where_something_is_in_it(frames, ending):
    result = JobResult("camera", None, StreamStats(frames=frames), (), Path("out"), seconds=1.0)
    assert summary_line(result, ()).endswith(ending)


def test_a_folder_has_a_name_that_a_disk_takes():
    out = Path("out")
    assert folders(["..", "."], out) == [out / Path("..").resolve().name, out / "source"]
    long = folders([f"{'é' * 125}.mp4", f"{'é' * 125}.avi", f"https://host/{'a' * 3000}.mp4"], out)
    assert len(set(long)) == 3
    assert all(len(os.fsencode(folder.name)) <= 255 for folder in long)


def sequence(lag: int, count: int = 21, every: int = 10) -> list[SimpleNamespace]:
    """Motions in the order that a stream gives them."""
    motions = []
    for start in range(0, count, every):
        if lag == 0:
            motions += [SimpleNamespace(index=i, final=True) for i in range(max(start - every, 0), start)]
            motions += [SimpleNamespace(index=i, final=False) for i in range(start, min(start + every, count))]
        else:
            motions += [SimpleNamespace(index=i, final=True) for i in range(start, min(start + every, count))]
    return [*motions, *([SimpleNamespace(index=count - 1, final=True)] if lag == 0 else [])]


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("frames", [1, 5, 10, 13])
def test_a_limit_gives_each_of_the_first_frames_a_final(lag, frames):
    motions = list(first_frames(sequence(lag), frames))
    assert sorted(m.index for m in motions if m.final) == list(range(frames))
    assert max(m.index for m in motions) < frames


def test_without_a_limit_everything_passes():
    assert len(list(first_frames(sequence(1), None))) == 21


def test_a_script_runs_a_job_without_a_command_line(tmp_path, capsys):
    result = process("synthetic:seconds=1", tmp_path, JobOptions(formats=("csv",), progress=False))
    assert (result.stats.frames, result.frames_with_people, result.people) == (30, 30, {0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poses.csv", "poses_forecast.csv"]
    assert capsys.readouterr() == ("", "")


def signal_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, *, is_after: bool) -> None:
    """Ctrl-C arrives before or after the `call`-th call of a function gives its result."""
    function, calls = getattr(owner, name), itertools.count(1)

    def interrupted(*args: Any, **options: Any) -> Any:
        is_time = next(calls) == call
        if is_time and not is_after:
            os.kill(os.getpid(), signal.SIGINT)
        result = function(*args, **options)
        if is_time and is_after:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Timeline, "looking", 3),  # what a keyframe leads to is being made
        (Timeline, "frame", 17),
        (steps, "push_each", 3),
        (Outputs, "write", 8),
        (JobResult, "count", 8),  # it is written, and not counted
        (Engine, "wait_for", 21),
        (Engine, "all_finals", 21),
        (SyntheticEstimator, "__call__", 4),  # the estimator looks
        (SyntheticReader, "__next__", 25),
    ],
)
def test_a_signal_at_any_place_loses_no_frame_but_the_one_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, lag: int, is_after: bool
) -> None:
    signal_at(monkeypatch, owner, name, call, is_after=is_after)
    options = JobOptions(formats=("jsonl",), progress=False, lag=lag)
    with pytest.raises(JobInterrupted) as stop:
        process("synthetic:seconds=2", tmp_path, options)
    rows = [json.loads(line) for line in (tmp_path / "poses.jsonl").read_text().splitlines()[1:]]
    frames = [row["index"] for row in rows if row["final"]]
    assert frames == list(range(len(frames)))
    read = stop.value.result.stats.frames
    assert read - 1 <= len(frames) <= read < 60
    assert stop.value.result.frames_with_people == len(frames)

"""The job: folders of results, the limit of frames, and a script that runs it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import folders
from mixsynth_stream.job.process import first_frames, process, write_finals


def test_one_source_writes_into_the_folder_several_into_one_each():
    out = Path("out")
    assert folders(["x/a.mp4"], out) == [out]
    assert folders(["x/a.mp4", "y/a.mp4", "b.avi"], out) == [out / "a", out / "a-2", out / "b"]
    assert folders(["a.mp4", "b.mp4"], None) == [None, None]


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


def test_no_gap_is_left_where_a_signal_broke_off_the_loop_of_a_file():
    written = []
    motions = [SimpleNamespace(index=index) for index in (5, 6, 17, 18)]
    result = SimpleNamespace(newest_index=4)
    result.count = lambda motion: setattr(result, "newest_index", motion.index)
    outputs = SimpleNamespace(write=written.append)
    stream = SimpleNamespace(close=lambda: motions, live=False, lag=1)
    write_finals(stream, outputs, result, Interrupt())
    assert [motion.index for motion in written] == [5, 6]
    live = SimpleNamespace(close=lambda: motions, live=True, lag=1)
    write_finals(live, outputs, result, Interrupt())
    assert [motion.index for motion in written[2:]] == [5, 6, 17, 18], "a live source loses frames"

"""run SOURCE --record DIR, then run DIR: the same bytes; a sentence for what is not possible; a kill loses nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import clips
from support.command_line import run_apart

from mixsynth_stream.cli import main
from mixsynth_stream.pipeline.sources.synthetic import SyntheticScene

SECONDS = 1.5


@pytest.fixture(scope="module")
def estimates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded estimates for any clip of these tests."""
    times_s, scene = np.arange(0, 20, 0.02), SyntheticScene(size=(64, 48))
    people = [scene.truth(time_s)[0] for time_s in times_s]
    path = tmp_path_factory.mktemp("estimates") / "people.npz"
    arrays = {name: np.stack([getattr(one, name) for one in people]) for name in ("pose", "world", "scores")}
    np.savez(path, time_s=times_s, poses=arrays["pose"], world=arrays["world"], scores=arrays["scores"])
    return path


def test_a_replay_writes_the_same_bytes(tmp_path: Path, estimates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, recording = clips.make(tmp_path / "a.mp4", frames=45), tmp_path / "recording"
    formats = ["--format", "jsonl,csv", "--quiet"]
    first = ["--live", "--estimates", str(estimates), "--record", str(recording), "--max-people", "2"]
    assert main(["run", str(clip), *first, "--out", str(tmp_path / "a"), *formats]) == 0
    assert main(["run", str(recording), "--out", str(tmp_path / "b"), *formats]) == 0
    for name in ("poses.jsonl", "poses.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert main(["run", str(recording), "--every", "5"]) == 2
    assert "replayed with the options that it was made with: leave --every out" in capsys.readouterr().err
    assert main(["run", str(clip), "--live", "--record", str(recording)]) == 1
    assert "is not empty: give a new folder for the recording" in capsys.readouterr().err
    assert main(["run", str(clip), "--record", str(tmp_path / "c")]) == 2
    assert "--record is for cameras and live streams" in capsys.readouterr().err


def test_several_sources_are_kept_side_by_side_and_replayed(
    tmp_path: Path, estimates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(clips.make(tmp_path / f"{name}.mp4", frames=frames)) for name, frames in (("a", 45), ("b", 30))]
    away, session = str(tmp_path / "away.mp4"), tmp_path / "session"
    first = ["--live", "--estimates", str(estimates), "--record", str(session)]
    assert main(["run", *names, away, *first, "--out", str(tmp_path / "out"), "--quiet"]) == 3
    assert sorted(path.name for path in session.iterdir()) == ["a", "b"]
    assert main(["run", str(session), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert main(["run", str(session / "b"), "--live", "--out", str(tmp_path / "alone"), "--quiet"]) == 0
    for name in ("a", "b"):
        poses = (tmp_path / "out" / name / "poses.jsonl").read_bytes()
        assert b'"index"' in poses
        assert poses == (tmp_path / "again" / name / "poses.jsonl").read_bytes()
    assert poses == (tmp_path / "alone" / "poses.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["run", *names, "--live", "--record", str(session), "--out", str(tmp_path / "c")]) == 1
    assert "session is not empty: give a new folder for the recording" in capsys.readouterr().err
    assert main(["run", "rtsp://a/b", *names, "--record", str(tmp_path / "c"), "--out", str(tmp_path / "c")]) == 2
    assert f"--record keeps live sources, and {names[0]} is none: run it by itself" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(("number", "sources"), [(signal.SIGINT, 1), (signal.SIGKILL, 1), (signal.SIGINT, 2)])
def test_a_recording_outlives_its_program(
    tmp_path: Path, estimates: Path, number: signal.Signals, sources: int
) -> None:
    clip, recording = clips.make(tmp_path / "a.mp4", frames=600), tmp_path / "recording"
    options = ["--live", "--estimates", str(estimates), "--record", str(recording)]
    command = [sys.executable, "-m", "mixsynth_stream", "run", *[str(clip)] * sources, *options]
    places = [""] if sources == 1 else ["a", "a-2"]
    with subprocess.Popen([*command, "--out", str(tmp_path / "a")], stderr=subprocess.DEVNULL) as process:
        end_s = time.perf_counter() + 60
        for journal in (recording / place / "journal.jsonl.part" for place in places):
            while not journal.is_file() or journal.read_bytes().count(b'"frame":[') < 20:
                assert process.poll() is None and time.perf_counter() < end_s
                time.sleep(0.05)
        process.send_signal(number)
    result = run_apart("run", str(recording), "--quiet", "--out", str(tmp_path / "b"))
    assert result.returncode == 0
    for place in places:
        poses = (tmp_path / "b" / place / "poses.jsonl").read_bytes()
        assert poses.count(b'"index"') >= 15
        if number == signal.SIGINT:
            assert process.returncode == 130 and not result.stderr
            assert poses == (tmp_path / "a" / place / "poses.jsonl").read_bytes()
        else:
            assert "recording was cut off, and is replayed up to" in result.stderr

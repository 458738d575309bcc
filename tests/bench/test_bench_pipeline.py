"""`bench pipeline`: a gate that turns red, and figures that add up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import clips

from mixsynth_stream.bench import pipeline as bench_pipeline
from mixsynth_stream.bench.pipeline import Comparison, expected_keyframes, gate_failures, median_gap_error
from mixsynth_stream.bench.runs import ClipRun, long_enough
from mixsynth_stream.cli import main
from mixsynth_stream.evaluate.excerpt import Excerpt
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.weights import Model, untrained_model

FRAMES = 24
KEYFRAMES = [0, 10, 20, 23]


@pytest.fixture(scope="module")
def models() -> tuple[Model, Model]:
    return untrained_model("image"), untrained_model("world")


@pytest.fixture(scope="module")
def comparison(models: tuple[Model, Model]) -> Comparison:
    return Comparison(clips.PERSON, FRAMES, 10, "full", models)


@pytest.fixture(scope="module")
def dense(comparison: Comparison) -> ClipRun:
    return comparison.dense(keep=True)


@pytest.fixture(scope="module")
def stream(comparison: Comparison) -> ClipRun:
    return comparison.stream(keep=True)


@pytest.mark.parametrize(
    ("rate_hz", "every", "frames", "expected"),
    [
        (30, 10, 31, [0, 10, 20, 30]),
        (60, 10, 45, [0, 20, 40, 44]),
        (25, 10, 30, [0, 9, 17, 25, 29]),
        (30, 5, 11, [0, 5, 10]),
        (2, 10, 4, [0, 1, 2, 3]),
    ],
)
def test_expected_keyframes_lie_on_the_grid_and_at_the_end(
    rate_hz: int, every: int, frames: int, expected: list[int]
) -> None:
    assert expected_keyframes([5.0 + i / rate_hz for i in range(frames)], every) == expected


def test_a_short_clip_is_played_again(tmp_path: Path) -> None:
    assert long_enough(clips.PERSON, 50, tmp_path) == clips.PERSON
    with Excerpt(long_enough(clips.PERSON, 120, tmp_path), frames=120) as clip:
        frames = [(frame.index, frame.time_s, frame.rgb[300, 180].tolist()) for frame in clip]
    assert [index for index, _, _ in frames] == list(range(120))
    np.testing.assert_allclose(np.diff([time_s for _, time_s, _ in frames]), 1 / 30, atol=1e-3)
    assert [pixel for _, _, pixel in frames[50:100]] == [pixel for _, _, pixel in frames[:50]]


def test_the_gate_is_green_on_a_right_stream(comparison: Comparison, dense: ClipRun, stream: ClipRun) -> None:
    assert gate_failures(comparison, dense, stream) == []
    assert 0.0 < median_gap_error(stream, dense) < 0.3


def test_the_gate_turns_red(comparison: Comparison, dense: ClipRun, stream: ClipRun) -> None:
    def complaint(**change: object) -> str:
        return "; ".join(gate_failures(comparison, dense, replace(stream, **change)))  # type: ignore[arg-type]

    motions = stream.motions
    assert "not each once, in order and final" in complaint(motions=motions[:5] + motions[6:])
    assert "not each once, in order and final" in complaint(motions=[replace(motions[0], final=False), *motions[1:]])
    unmarked = [replace(m, keyframe=m.keyframe and m.index != 10) for m in motions]
    assert f"keyframes should be {KEYFRAMES}, found [0, 20, 23]" in complaint(motions=unmarked)
    assert "5 estimator calls for 4 keyframes" in complaint(estimator_calls=5)
    forecast = np.full_like(motions[4].origin, Origin.FORECAST)
    changed = [*motions[:4], replace(motions[4], origin=forecast), *motions[5:]]
    assert "frame 4 says FORECAST" in complaint(motions=changed)
    assert complaint(motions=[replace(m, measured=()) if m.index == 10 else m for m in changed]) == ""
    elsewhere = [replace(m, poses=m.poses + 100.0) for m in motions]
    assert "torso lengths from the estimator's on every frame" in complaint(motions=elsewhere)


def test_bench_pipeline_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "bench.json"
    options = ["--frames", "12", "--rounds", "1", "--json", str(report)]
    assert main(["bench", "pipeline", str(clips.PERSON), *options]) == 0
    output = capsys.readouterr().out
    assert "3 estimator calls, one a keyframe" in output
    document = json.loads(report.read_text())
    assert document["versions"]["mediapipe"] and document["machine"]
    rows = {row["contender"]: row for row in document["rows"]}
    assert list(rows) == ["dense", "stream", "decode only"]
    assert [row["estimator_calls"] for row in rows.values()] == [12, 3, 0]
    assert rows["dense"]["over_dense"] == 1.0
    facts = [[rows[name][key] for key in ("model", "is_cut", "eye", "glance")] for name in ("dense", "stream")]
    assert facts == [["full-official", False, "video", False], ["full", True, "follow", False]]
    for row in rows.values():
        assert row["p20_fps"] <= row["p50_fps"] <= row["p80_fps"]
        assert row["share_decode"] + row["share_estimator"] + row["share_rest"] == pytest.approx(1.0)
        assert f"{row['over_dense']:.2f}x" in output
    assert not list(tmp_path.glob("*.part"))


def test_no_speed_without_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = clips.make(tmp_path / "nobody.mp4", frames=12)
    report = tmp_path / "bench.json"
    assert main(["bench", "pipeline", str(nobody), "--frames", "12", "--json", str(report)]) == 1
    output = capsys.readouterr().out
    assert "RED" in output and "one person" in output and "over dense" not in output
    assert not report.exists()


@pytest.mark.parametrize(("late", "code", "words"), [(104, 0, "1.040x\n"), (120, 1, "it grows")])
def test_memory_that_grows_is_reported(
    late: int, code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter([100 * 2**20, late * 2**20])
    monkeypatch.setattr(bench_pipeline, "peak_memory", lambda: next(peaks))
    assert main(["bench", "pipeline", str(clips.PERSON), "--memory", "--frames", "30"]) == code
    output = capsys.readouterr().out
    assert f"100.0 MiB after 3 frames, {late}.0 MiB after 30" in output and words in output


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux has this file")
def test_peak_memory_is_that_of_the_system() -> None:
    status = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert bench_pipeline.peak_memory() == pytest.approx(kibibytes * 1024, rel=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["--plot", "a.png", "--camera", "c"], "--plot, --camera goes with --frontier only"),
        (["--frontier", "--every", "5", "--memory"], "--memory, --every does not go with --frontier"),
        (["--frontier", "--phases", "0"], "--phases must be at least 1, found 0"),
        (["--frontier", "--trc", "a.trc"], "--trc and --calibration belong together"),
        (["a.mp4", "b.mp4"], "one clip is measured at a time without --frontier, found 2"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "pipeline", *options]) == 2
    assert words in capsys.readouterr().err

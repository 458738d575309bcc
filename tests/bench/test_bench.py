"""Benchmarks: a gate that turns red, figures that add up, and errors against a truth that is known exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import clips
from support.fakes import person

from mixsynth_stream.bench import pipeline as bench_pipeline
from mixsynth_stream.bench import truth as bench_truth
from mixsynth_stream.bench.pipeline import FirstFrames, Run, Setting, expected_keyframes, long_enough, wrong_with
from mixsynth_stream.cli import main
from mixsynth_stream.data.camera_truth import LIMB_JOINTS, LIMB_MARKERS, Camera, read_camera, read_trc
from mixsynth_stream.pipeline.motion import Origin, Person
from mixsynth_stream.weights import Model, untrained_model

FRAMES = 24
KEYFRAMES = [0, 10, 20, 23]


@pytest.fixture(scope="module")
def models() -> tuple[Model, Model]:
    return untrained_model("image"), untrained_model("world")


@pytest.fixture(scope="module")
def setting(models: tuple[Model, Model]) -> Setting:
    return Setting(clips.PERSON, FRAMES, 10, "full", models)


@pytest.fixture(scope="module")
def dense(setting: Setting) -> Run:
    return setting.dense(keep=True)


@pytest.fixture(scope="module")
def stream(setting: Setting) -> Run:
    return setting.stream(keep=True)


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
def test_keyframes_that_the_gate_expects(rate_hz: int, every: int, frames: int, expected: list[int]) -> None:
    assert expected_keyframes([5.0 + i / rate_hz for i in range(frames)], every) == expected


def test_a_short_clip_is_played_again(tmp_path: Path) -> None:
    assert long_enough(clips.PERSON, 50, tmp_path) == clips.PERSON
    with FirstFrames(long_enough(clips.PERSON, 120, tmp_path), 120) as clip:
        seen = [(frame.index, frame.time_s, frame.rgb[300, 180].tolist()) for frame in clip]
    assert [index for index, _, _ in seen] == list(range(120))
    np.testing.assert_allclose(np.diff([time_s for _, time_s, _ in seen]), 1 / 30, atol=1e-3)
    assert [pixel for _, _, pixel in seen[50:100]] == [pixel for _, _, pixel in seen[:50]]


def test_the_gate_is_green_on_a_right_stream(setting: Setting, dense: Run, stream: Run) -> None:
    wrong, gap_error = wrong_with(setting, dense, stream)
    assert wrong == []
    assert 0.0 < gap_error < 0.3


def test_the_gate_turns_red(setting: Setting, dense: Run, stream: Run) -> None:
    def complaint(**change: object) -> str:
        return "; ".join(wrong_with(setting, dense, replace(stream, **change))[0])  # type: ignore[arg-type]

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
    printed = capsys.readouterr().out
    assert "3 estimator calls, one a keyframe" in printed
    document = json.loads(report.read_text())
    assert document["versions"]["mediapipe"] and document["machine"]
    rows = {row["contender"]: row for row in document["rows"]}
    assert list(rows) == ["dense", "stream", "decode only"]
    assert [row["estimator_calls"] for row in rows.values()] == [12, 3, 0]
    assert rows["dense"]["over_dense"] == 1.0
    for row in rows.values():
        assert row["p20_fps"] <= row["p50_fps"] <= row["p80_fps"]
        assert row["share_decode"] + row["share_estimator"] + row["share_rest"] == pytest.approx(1.0)
        assert f"{row['over_dense']:.2f}x" in printed
    assert not list(tmp_path.glob("*.part"))


def test_no_speed_without_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = clips.make(tmp_path / "nobody.mp4", frames=12)
    report = tmp_path / "bench.json"
    assert main(["bench", "pipeline", str(nobody), "--frames", "12", "--json", str(report)]) == 1
    printed = capsys.readouterr().out
    assert "RED" in printed and "one person" in printed and "over dense" not in printed
    assert not report.exists()


@pytest.mark.parametrize(("late", "code", "words"), [(104, 0, "1.040x\n"), (120, 1, "it grows")])
def test_memory_that_grows_is_told(
    late: int, code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter([100 * 2**20, late * 2**20])
    monkeypatch.setattr(bench_pipeline, "peak_memory", lambda: next(peaks))
    assert main(["bench", "pipeline", str(clips.PERSON), "--memory", "--frames", "30"]) == code
    printed = capsys.readouterr().out
    assert f"100.0 MiB after 3 frames, {late}.0 MiB after 30" in printed and words in printed


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system says it here on Linux only")
def test_peak_memory_is_what_the_system_says() -> None:
    status = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert bench_pipeline.peak_memory() == pytest.approx(kibibytes * 1024, rel=0.05)


def test_wrong_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "pipeline", "--rounds", "0"]) == 2
    assert "--rounds must be at least 1, found 0" in capsys.readouterr().err


# A camera whose pictures are easy to work out: no turn, no distortion, a thousand pixels at a metre's distance.
CALIBRATION = """
[cam_01]
name = "front"
size = [ 360.0, 636.0]
matrix = [ [ 1000.0, 0.0, 0.0], [ 0.0, 1000.0, 0.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.0, 0.0, 0.0, 0.0]
rotation = [ 0.0, 0.0, 0.0]
translation = [ 0.0, 0.0, 0.0]
fisheye = false

[metadata]
adjusted = false
"""


def write_truth(folder: Path, poses: np.ndarray, unit: str = "m") -> tuple[Path, Path]:  # [F, 12, 2]
    """A TRC file and a calibration in which the limbs are seen at `poses`. The TRC's y is the camera's z."""
    scale = {"m": 1.0, "mm": 1000.0}[unit]
    lines = ["PathFileType\t4\t(X/Y/Z)\ttruth.trc", "DataRate\tUnits", f"30\t{unit}"]
    lines += ["Frame#\tTime\t" + "\t\t\t".join(LIMB_MARKERS), "\t\tX1\tY1\tZ1"]
    for f, pose in enumerate(poses):
        cells = [f"{value * scale:.9f}" for x, y in pose for value in (y / 1000, 1.0, x / 1000)]
        lines.append("\t".join([str(f + 1), f"{f / 30:.3f}", *cells]))
    (folder / "truth.trc").write_text("\n".join(lines) + "\n")
    (folder / "calibration.toml").write_text(CALIBRATION)
    return folder / "truth.trc", folder / "calibration.toml"


def test_projection_follows_opencv() -> None:
    turned = Camera(
        "c",
        np.array([[800.0, 0.0, 320.0], [0.0, 810.0, 240.0], [0.0, 0.0, 1.0]]),
        np.array([0.1, -0.05, 0.002, -0.001]),
        np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        np.array([0.1, 0.2, 3.0]),
    )
    # By hand: seen (0.1 - 0.4, 0.2 + 0.3, 3.5), x = -0.3/3.5, y = 0.5/3.5.
    x, y = -0.3 / 3.5, 0.5 / 3.5
    r2 = x * x + y * y
    radial = 1 + 0.1 * r2 - 0.05 * r2**2
    u = 320 + 800 * (x * radial + 2 * 0.002 * x * y - 0.001 * (r2 + 2 * x * x))
    v = 240 + 810 * (y * radial + 0.002 * (r2 + 2 * y * y) - 2 * 0.001 * x * y)
    np.testing.assert_allclose(turned.project(np.array([0.3, 0.4, 0.5])), [u, v], atol=1e-9)


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_measured_motion_is_read_in_metres(unit: str, tmp_path: Path) -> None:
    trc, calibration = write_truth(tmp_path, np.full((3, 12, 2), 250.0), unit)
    np.testing.assert_allclose(read_trc(trc)["RKnee"], [[0.25, 1.0, 0.25]] * 3)
    assert read_camera(calibration, "front").matrix[0, 0] == 1000.0
    with pytest.raises(ValueError, match=r"no camera 'cam_07'; it has cam_01"):
        read_camera(calibration, "cam_07")
    with pytest.raises(ValueError, match="is not a TRC file"):
        read_trc(calibration)


def swinging_person(time_s: float) -> Person:
    """A person who sways from side to side twice a second, too fast to be followed exactly by three looks a second."""
    return person(x_px=180.0 + 20 * np.sin(4 * np.pi * time_s), y_px=150.0, size_px=80.0)


def test_bench_truth_measures_against_what_it_is_given(
    models: tuple[Model, Model], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exact:
        """Stands in for MediaPipe: sees exactly on every frame, 2 px too far to the right at keyframes."""

        def __init__(self, model: str, mode: str = "keyframe") -> None:
            self.wrong_px = 2.0 if mode == "keyframe" else 0.0

        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            exact = swinging_person(time_s)
            return [replace(exact, pose=exact.pose + np.array([self.wrong_px, 0.0]))]

        skeleton = "BlazePose-33"

        def __enter__(self) -> Exact:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(bench_truth, "MediaPipeEstimator", Exact)
    monkeypatch.setattr(bench_truth, "load_model", dict(zip(("image-n10", "world-n10"), models, strict=True)).get)
    poses = np.array([swinging_person(f / 30).pose[list(LIMB_JOINTS)] for f in range(50)])
    trc, calibration = write_truth(tmp_path, poses)
    report = tmp_path / "truth.json"
    arguments = [
        "--video",
        str(clips.PERSON),
        "--trc",
        str(trc),
        "--calibration",
        str(calibration),
        "--camera",
        "front",
    ]
    assert main(["bench", "truth", *arguments, "--json", str(report)]) == 0
    rows = {(row["question"], row["method"]): row for row in json.loads(report.read_text())["rows"]}
    # A gap of nine frames behind each full window, from ten first keyframes on.
    assert {rows["gaps", method]["frames"] for method in ("network", "PCHIP", "dense estimator")} == {90}
    assert rows["gaps", "dense estimator"]["error_px"] < 0.05
    assert rows["gaps", "estimator at keyframes"]["error_px"] == pytest.approx(2.0, abs=0.05)
    for method in ("network", "PCHIP"):
        assert 5.0 < rows["gaps", method]["error_px"] < 30.0
        assert rows["gaps", method]["error_torso"] == pytest.approx(rows["gaps", method]["error_px"] / 80.0, rel=1e-3)
        assert rows["gaps", method]["over_pchip"] == pytest.approx(
            rows["gaps", method]["error_px"] / rows["gaps", "PCHIP"]["error_px"]
        )
    write_truth(tmp_path, poses[:-1])
    capsys.readouterr()
    assert main(["bench", "truth", *arguments]) == 3
    assert "has 50 frames and the truth 49 rows" in capsys.readouterr().err

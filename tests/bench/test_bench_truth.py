"""`bench truth`: errors against a truth that is known exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import clips
from support.fakes import person

from mixsynth_stream.bench import truth as bench_truth
from mixsynth_stream.cli import main
from mixsynth_stream.data.camera_truth import LIMB_JOINTS, LIMB_MARKERS, Camera, read_camera
from mixsynth_stream.data.trc import read_trc
from mixsynth_stream.evaluate import contenders
from mixsynth_stream.evaluate.contenders import dense_contender
from mixsynth_stream.evaluate.frontier import Reference, limbs_of
from mixsynth_stream.evaluate.video import dense_poses
from mixsynth_stream.pipeline.estimators import choose
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import LANDMARKS, named_skeleton
from mixsynth_stream.weights import load_model, untrained_model

# A camera whose pictures are easy to work out: it is not turned and not distorted, and a metre at a metre's distance is
# a thousand pixels.
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


@pytest.mark.parametrize(
    ("clip", "camera"), [("cam03.mp4", "cam_03"), ("cam03_30hz.mp4", "cam_03"), ("camera.mp4", "camera")]
)
def test_a_clip_of_pose2sim_names_its_camera(clip: str, camera: str) -> None:
    assert bench_truth.camera_of(Path(clip)) == camera


def swinging_person(time_s: float) -> Person:
    """A person who sways from side to side twice a second, too fast to be followed exactly by three looks a second."""
    return person(x_px=180.0 + 20 * np.sin(4 * np.pi * time_s), y_px=150.0, size_px=80.0)


def test_bench_truth_measures_against_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exact:
        """Stands in for MediaPipe: exact on every frame, but 2 px too far to the right at keyframes."""

        def __init__(self, model: str, mode: str = "keyframe", **_: object) -> None:
            self.error_px = 2.0 if mode == "keyframe" else 0.0

        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            exact = swinging_person(time_s)
            return [replace(exact, pose=exact.pose + np.array([self.error_px, 0.0]))]

        skeleton = "BlazePose-33"

        def close(self) -> None:
            pass

        def __enter__(self) -> Exact:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(contenders, "MediaPipeEstimator", Exact)
    monkeypatch.setattr(choose, "pose_estimator", Exact)
    models = {f"{space}-n10": untrained_model(space) for space in ("image", "world")}
    monkeypatch.setattr(bench_truth, "load_model", models.get)
    poses = np.array([swinging_person(f / 30).pose[list(LIMB_JOINTS)] for f in range(50)])
    trc, calibration = write_truth(tmp_path, poses)
    report = tmp_path / "truth.json"
    arguments = ["--video", str(clips.PERSON), "--trc", str(trc), "--calibration", str(calibration)]
    arguments += ["--camera", "front"]
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
    assert not rows["gaps", "network"]["glance"] and rows["gaps", "network"]["within_sigma"] is None
    monkeypatch.setattr(bench_truth, "load_model", load_model)
    assert main(["bench", "truth", *arguments, "--glance", "--json", str(report)]) == 0
    rows = {(row["question"], row["method"]): row for row in json.loads(report.read_text())["rows"]}
    network, now = rows["gaps", "network"], rows["now", "network"]
    assert network["glance"] and 0.0 < network["within_sigma"] < network["within_2_sigma"] < 1.0
    assert now["error_px"] > network["error_px"] and 0.0 < now["within_sigma"] < now["within_2_sigma"] <= 1.0
    assert "network and glance" in capsys.readouterr().out
    write_truth(tmp_path, poses[:-1])
    assert main(["bench", "truth", *arguments]) == 3
    assert "has 50 frames and the truth 49 rows" in capsys.readouterr().err


def test_a_pose_model_of_another_skeleton_is_judged_on_the_same_joints() -> None:
    """MoveNet on every frame, and MediaPipe, see the limbs of one man in the same places."""
    limbs = {}
    for model in ("full", "movenet-lightning"):
        with dense_contender(model).open_dense() as estimator:
            poses = dense_poses(clips.PERSON, estimator).poses
        limbs[model] = poses[:, limbs_of(named_skeleton(estimator.skeleton, LANDMARKS))]
    both = np.array(list(limbs.values()))
    assert both.shape[2:] == (12, 2)
    torso_px = Reference("MediaPipe", limbs["full"]).torso_px
    assert np.nanmean(np.linalg.norm(both[0] - both[1], axis=-1)) < 0.2 * torso_px


def test_speed_is_compared_with_mediapipe_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "pipeline", str(clips.PERSON), "--model", "movenet-lightning"]) == 2
    assert "--model must be a model of it, found movenet-lightning" in capsys.readouterr().err

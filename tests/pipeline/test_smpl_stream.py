"""Rotations of SMPL through window, people, stream, estimators and result files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fakes import models, person
from support.smpl_bodies import JOINTS, degrees_off, preset_weights, recording, saved_again, truth, turning

from mixsynth_stream.cli import main
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.pipeline import ArrayEstimator, Motion, MotionWindow, Origin, Person, Stream
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.rotations import axis_angle_to_6d, axis_angle_to_matrix, geodesic_error, matrix_from_6d
from mixsynth_stream.skeleton import SMPL_24
from mixsynth_stream.weights import Model, load_model, untrained_model

BLANK = np.zeros((2, 2, 3), np.uint8)
PERIOD_S = 1 / 3
SEEN = np.ones(JOINTS)


@pytest.fixture(scope="module")
def model() -> Model:
    return untrained_model("rotation")


def window_of(model: Model, keyframes: int = 6) -> MotionWindow:
    window = MotionWindow(model)
    for k in range(keyframes):
        window.push(axis_angle_to_6d(turning(k * PERIOD_S)), SEEN, k * PERIOD_S)
    return window


def streamed(model: Model, arrays: dict[str, Any], lag: int = 1, **options: Any) -> list[Motion]:
    """Every Motion of recorded rotations, pushed frame by frame."""
    estimator = ArrayEstimator(arrays)
    stream = Stream(models=model, estimator=estimator, lag=lag, **options)
    motions = [motion for _, time_s in estimator.frames() for motion in stream.push(BLANK, time_s, wait=True)]
    return motions + stream.close()


def assert_rotations(numbers: np.ndarray) -> None:  # [..., 6]
    """Two columns of length 1 at right angles."""
    columns = numbers.reshape(*numbers.shape[:-1], 3, 2)
    gram = columns.swapaxes(-1, -2) @ columns
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(2), gram.shape), atol=1e-9)


def test_turning_past_half_a_turn_is_filled_and_forecast_smoothly(model: Model) -> None:
    """Where the axis-angle vectors of the file flip from one side to the other."""
    window = window_of(model)
    inside = np.linspace(PERIOD_S, 5 * PERIOD_S, 61)
    result = window.at(inside)
    assert degrees_off(result.poses, inside) < 2.0
    assert_rotations(window.at(np.linspace(PERIOD_S, 3, 40)).poses)
    ahead = window.at([5 * PERIOD_S + 0.1])
    assert (ahead.origin == Origin.FORECAST).all()
    assert degrees_off(ahead.poses, [5 * PERIOD_S + 0.1]) < 2.0 < degrees_off(result.poses[-1:], [5 * PERIOD_S + 0.1])


def test_keyframes_half_a_turn_apart_give_rotations_all_the_way(model: Model) -> None:
    window = MotionWindow(model)
    for k in range(5):
        window.push(axis_angle_to_6d(np.tile([0, 0, np.pi * (k % 2)], (JOINTS, 1))), SEEN, k * PERIOD_S)
    assert_rotations(window.at(np.linspace(0, 2, 241)).poses)


def test_numbers_of_a_network_are_made_a_rotation_at_the_door(model: Model) -> None:
    rotations = axis_angle_to_6d(turning(0.0))
    window = MotionWindow(model)
    window.push(1.3 * rotations, SEEN, 0.0)
    np.testing.assert_allclose(window.at([0.0]).poses[0], rotations, atol=1e-9)


def test_unseen_joints_are_predicted_and_never_seen_ones_missing(model: Model) -> None:
    window = MotionWindow(model)
    for k in range(6):
        rotations = axis_angle_to_6d(turning(k * PERIOD_S))
        rotations[22] = np.nan
        if k == 5:
            rotations[3] = np.nan
        window.push(rotations, SEEN, k * PERIOD_S)
    result = window.at([5 * PERIOD_S])
    assert result.origin[0, [3, 4, 22]].tolist() == [Origin.FORECAST, Origin.MEASURED, Origin.MISSING]
    assert np.isnan(result.poses[0, 22]).all()
    others = np.delete(np.arange(JOINTS), 22)
    off = geodesic_error(matrix_from_6d(result.poses[0, others]), truth(5 * PERIOD_S)[others])
    assert np.degrees(off).max() < 8.0


def test_a_keyframe_off_the_grid_leaves_no_jump(model: Model) -> None:
    window = window_of(model)
    newest = 5 * PERIOD_S
    before = window.at([newest]).poses
    window.push(axis_angle_to_6d(turning(newest + 0.1)), SEEN, newest + 0.1)
    np.testing.assert_allclose(window.at([newest]).poses, before, atol=1e-9)
    times = np.linspace(newest, newest + 0.2, 9)
    assert degrees_off(window.at(times).poses, times) < 3.0
    assert_rotations(window.at(times).poses)


def test_weights_that_centre_and_scale_are_refused(tmp_path: Path) -> None:
    path = saved_again(preset_weights(tmp_path, "3dpw-smpl-pare"), normalisation="root")
    with pytest.raises(ModelError, match="rotations have no root and no size"):
        MotionWindow(load_model(path))


@pytest.mark.parametrize("lag", [0, 1])
def test_every_frame_becomes_final_with_either_lag(model: Model, lag: int) -> None:
    arrays = recording()
    motions = streamed(model, arrays, lag)
    finals = [motion for motion in motions if motion.final]
    assert [motion.index for motion in finals] == list(range(60))
    assert len(motions) == (60 if lag else 121)  # the last frame becomes a keyframe, and comes a third time
    for motion in finals:
        assert motion.ids.tolist() == [0, 1]
        assert motion.rotations is not None and motion.rotations.shape == (2, JOINTS, 6)
        assert degrees_off(motion.rotations[0], motion.time_s) < 2.0
        assert degrees_off(motion.rotations[1], motion.time_s, 0.5) < 2.0
    origins = [Origin(int(motion.origin[0, 0])).name for motion in finals[:11]]
    assert origins == ["MEASURED", *["FILLED"] * 9, "MEASURED"]
    assert np.isnan(finals[0].poses).all() and finals[0].poses.shape == (2, JOINTS, 2)
    assert finals[0].world.shape == (2, JOINTS, 3)
    if lag == 0:
        early = next(motion for motion in motions if motion.index == 35 and not motion.final)
        assert (early.origin == Origin.FORECAST).all()
        assert early.rotations is not None and degrees_off(early.rotations[0], early.time_s) < 5.0


def test_both_lags_end_with_the_numbers_of_the_window(model: Model) -> None:
    arrays, window = recording(), MotionWindow(model)
    early, late = ([m for m in streamed(model, arrays, lag) if m.final] for lag in (0, 1))
    for one, other in zip(early, late, strict=True):
        np.testing.assert_array_equal(one.rotations, other.rotations)
    for index in range(0, 60, 10):
        window.push(axis_angle_to_6d(arrays["rotations"][index, 0]), SEEN, index / 30)
    between = window.at([motion.time_s for motion in late[40:50]])
    np.testing.assert_allclose(
        [m.rotations[0] for m in late[40:50] if m.rotations is not None], between.poses, atol=1e-12
    )


def test_any_history_gives_rotations(model: Model) -> None:
    """Wild keyframes, at any times, with people and joints that are not seen."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        window = MotionWindow(model)
        times = np.cumsum(rng.uniform(0.02, 1.0, 9))
        for time_s in times:
            rotations = axis_angle_to_6d(rng.uniform(-4, 4, (JOINTS, 3)))
            rotations[rng.random(JOINTS) < 0.3] = np.nan
            window.push(None if rng.random() < 0.2 else rotations, SEEN, time_s)
        result = window.at(np.linspace(0, times[-1] + 1, 40))
        known = result.origin != Origin.MISSING
        assert known.any() and (np.isfinite(result.poses).all(axis=-1) == known).all()
        assert_rotations(result.poses[known])


def test_a_motion_carries_its_forecast_and_what_the_estimator_said(model: Model) -> None:
    motion = next(motion for motion in streamed(model, recording(), lag=0, horizon_s=0.2) if motion.index == 40)
    assert motion.keyframe and motion.measured is not None
    assert [one.id for one in motion.measured] == [0, 1]
    assert motion.forecast.rotations is not None and motion.forecast.rotations.shape == (2, 6, JOINTS, 6)
    assert degrees_off(motion.forecast.rotations[0], motion.forecast.time_s) < 6.0
    assert motion.forecast.sigma is None and motion.sigma is None


def test_people_are_who_the_recording_says(model: Model) -> None:
    """They change columns, and their poses would not tell them apart."""
    arrays = recording()
    swapped = arrays["time_s"] > 1
    arrays["rotations"][swapped] = arrays["rotations"][swapped][:, ::-1]
    arrays["ids"] = np.where(swapped[:, None], [9, 4], [4, 9])
    for motion in streamed(model, arrays):
        assert motion.ids.tolist() == [4, 9] and motion.rotations is not None
        assert degrees_off(motion.rotations[0], motion.time_s) < 2.0


def test_somebody_who_leaves_is_forecast_for_a_while_and_returns_under_the_same_id(model: Model) -> None:
    arrays = recording(seconds=6.0)
    arrays["rotations"][40:150, 1] = np.nan
    motions = streamed(model, arrays)
    present = [motion.index for motion in motions if 1 in motion.ids]
    assert set(range(41)) <= set(present) and set(range(150, 180)) <= set(present)
    assert not set(range(80, 150)) & set(present)
    gone = next(motion for motion in motions if motion.index == 50)
    assert gone.origin[1, 0] == Origin.FORECAST


def test_the_networks_own_rate_says_which_frames_are_keyframes(tmp_path: Path) -> None:
    """AIST++: N = 10 at 60 Hz is a keyframe every sixth of a second, and nothing past the newest is known."""
    network = load_model(preset_weights(tmp_path, "aist-smpl"))
    motions = streamed(network, recording(), lag=0)
    assert [m.index for m in motions if m.keyframe and m.final] == [*range(0, 60, 5), 59]
    early = next(motion for motion in motions if motion.index == 33 and not motion.final)
    assert (early.origin == Origin.HELD).all()


FORMS = {
    "axis-angle": turning(0.0),
    "row of 72": turning(0.0).ravel(),
    "6 numbers": axis_angle_to_6d(turning(0.0)),
    "row of 144": axis_angle_to_6d(turning(0.0)).ravel(),
    "matrices": axis_angle_to_matrix(turning(0.0)),
}


@pytest.mark.parametrize("form", FORMS)
def test_rotations_may_come_in_any_usual_form(form: str) -> None:
    value = FORMS[form]
    called = as_estimator(lambda rgb, time_s: [(value, SEEN, 3)], SMPL_24)(BLANK, 0.0)[0]
    (alone,) = ArrayEstimator({"time_s": [0.0], "rotations": value[None]})(BLANK, 0.0)
    _, second = ArrayEstimator({"time_s": [0.0], "rotations": np.stack([value, value])[None]})(BLANK, 0.0)
    for one, person_id in ((called, 3), (alone, 0), (second, 1)):
        assert one.rotations is not None and one.id == person_id
        np.testing.assert_allclose(one.rotations, FORMS["6 numbers"], atol=1e-12)


def changed(**values: Any) -> dict[str, Any]:
    return {**recording(seconds=0.2), **values}


ONE = turning(0.0)[None]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (changed(rotations=np.degrees(recording(0.2)["rotations"])), "in radians, found an angle of .* degrees"),
        (changed(rotations=np.zeros((6, 23, 3))), r"rotations must be axis-angle \[24, 3\], .* found \[6, 23, 3\]"),
        (changed(rotations=recording(0.4)["rotations"]), r"must be of 6 frames and the same people, found \[12, 2"),
        (changed(scores=np.ones((6, 2, 33))), r"the same people, found .* \[6, 2, 33\]"),
        (changed(scores=np.full((6, 2, 24), 80.0)), "scores must lie in 0..1, found 80.0 at pelvis"),
        (changed(ids=[1, 1]), "frame 0: two people have the same id"),
        (changed(ids=[0.5, 1.5]), "ids must be whole numbers"),
        (changed(skeleton="BlazePose-33"), "rotations are of SMPL-24, but its skeleton says BlazePose-33"),
        (changed(skeleton="SMPL-X"), "the skeleton 'SMPL-X' is not known"),
        ({"time_s": [0.0], "rotations": -axis_angle_to_matrix(ONE)}, "must be rotation matrices.* mirrors"),
        ({"time_s": [0.0], "rotations": 2 * axis_angle_to_matrix(ONE)}, "must be rotation matrices, .* off"),
        ({"time_s": [0.0], "rotations": axis_angle_to_matrix(ONE)[..., :2, :].reshape(1, 24, 6)}, "first two rows"),
        ({"time_s": [0.0], "rotations": np.zeros((1, 24, 6))}, "a column of length 0"),
        ({"time_s": [0.0], "rotations": np.where(np.arange(3) == 1, np.nan, ONE)}, "finite or all NaN .* at pelvis"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        ArrayEstimator(arrays)


@pytest.mark.parametrize(
    ("people", "sentence"),
    [
        ([(turning(0.0), SEEN)], r"must be a Person or a \(rotations, scores, id\) tuple, found 2 values"),
        ([(turning(0.0), SEEN, None)], "id must be a whole number from 0 on .* found None"),
        ([(turning(0.0), SEEN, 2), (turning(0.0), SEEN, 2)], "two people have the same id"),
        ([person()], "rotations must hold numbers"),
        ([(turning(np.zeros(2)), SEEN, 2)], r"found \[2, 24, 3\]"),
    ],
)
def test_what_a_callable_says_wrong_is_named(people: list[Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        as_estimator(lambda rgb, time_s: people, "SMPL-24")(BLANK, 0.0)


def test_a_callable_streams_its_people(model: Model) -> None:
    def look(rgb: np.ndarray, time_s: float) -> list[Person]:
        return [Person.of_rotations(axis_angle_to_6d(turning(time_s)), SEEN, 12)]

    frames = [(BLANK, t / 30) for t in range(40)]
    with Stream(frames, models=model, estimator=as_estimator(look, "SMPL-24")) as stream:
        motions = list(stream)
    assert [motion.index for motion in motions] == list(range(40))
    assert {int(i) for motion in motions for i in motion.ids} == {12}
    rotations = [(motion.rotations, motion.time_s) for motion in motions if motion.rotations is not None]
    assert max(degrees_off(people[0], time_s) for people, time_s in rotations) < 2


def test_networks_and_estimators_of_other_joints_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gives SMPL-24, but the networks need BlazePose-33"):
        Stream(models=models(), estimator=ArrayEstimator(recording()))
    with pytest.raises(ModelError, match="gives BlazePose-33, but the networks need SMPL-24"):
        Stream(models=model, estimator=as_estimator(lambda rgb, time_s: [], "BlazePose-33"))
    with pytest.raises(ModelError, match="no pose model here gives the rotations"):
        Stream("synthetic:", models=model)
    with pytest.raises(ModelError, match="one network for world space is not enough"):
        Stream(models=untrained_model("world"), estimator=ArrayEstimator(recording()))
    landmarks = tmp_path / "landmarks.npz"
    one = person()
    np.savez(landmarks, time_s=[0.0], poses=one.pose[None], world=one.world[None])
    with pytest.raises(SourceError, match="in pixels of a video: give the video as the source"):
        Stream(landmarks, models=model)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.npz"
    np.savez(path, **recording(), ids=[4, 9])  # type: ignore[arg-type]
    return path


@pytest.fixture
def recorded_here(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recording, in the current folder."""
    monkeypatch.chdir(recorded.parent)
    return recorded


def test_run_writes_a_recording_without_a_video(recorded: Path, tmp_path: Path) -> None:
    weights, out = preset_weights(tmp_path, "3dpw-smpl-pare"), tmp_path / "out"
    options = ["--weights", str(weights), "--out", str(out), "--format", "jsonl,csv,npz", "--quiet"]
    assert main(["run", str(recorded), *options]) == 0
    header, *frames = [json.loads(line) for line in (out / "poses.jsonl").read_text().splitlines()]
    assert (header["skeleton"], header["width"], header["rate_hz"]) == ("SMPL-24", None, 30.0)
    assert header["joints"] == list(SMPL_24.joints) and set(header["units"]) == {"time_s", "rotation_rad", "scores"}
    assert header["estimator"] == "recorded in recorded.npz"
    assert len(frames) == 60 and [one["id"] for one in frames[33]["people"]] == [4, 9]
    first = frames[33]["people"][0]
    assert first["origin"] == "2" * 24 and "pose_px" not in first
    off = geodesic_error(axis_angle_to_matrix(np.array(first["rotation_rad"])), truth(33 / 30))
    assert np.degrees(off).max() < 2.0
    with np.load(out / "poses.npz") as arrays:
        mine = arrays["id"] == 4
        assert arrays["rotation_rad"].shape == (120, 24, 3) and arrays["origin"].shape == (120, 24)
        np.testing.assert_allclose(arrays["rotation_rad"][mine][33], first["rotation_rad"], atol=1e-4)
        assert arrays["forecast_rotation_rad"].shape == (len(arrays["forecast_id"]), 24, 3)
        assert "pose_px" not in arrays and arrays["joints"].tolist() == header["joints"]
    with open(out / "poses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60 * 2 * 24
    row = next(row for row in rows if (row["index"], row["id"], row["joint"]) == ("33", "4", "left_knee"))
    assert [float(row[axis]) for axis in ("x_rad", "y_rad", "z_rad")] == first["rotation_rad"][4]
    assert row["origin"] == "filled" and "x_px" not in row


def test_run_replays_rotations_beside_a_video(
    recorded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = str(preset_weights(tmp_path, "3dpw-smpl-pare"))
    video = "synthetic:seconds=1&size=64x48"
    assert main(["run", video, "--estimates", str(recorded), "--weights", weights, "--lag", "0", "--quiet"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sum(line.get("final", False) for line in lines) == 30
    assert all(len(person["rotation_rad"]) == 24 for line in lines[1:] for person in line["people"])


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--out", "o", "--format", "npz,trc", "--overlay"], 2, "as jsonl, csv, npz, parquet; trc, overlay would need"),
        (["--out", "o", "--plot"], 2, "as jsonl, csv, npz, parquet; plot would need"),
        (["--view", "window"], 2, "no places in the picture to show"),
        (["--weights", "image-n10"], 2, "stand alone"),
        (["--every", "5"], 2, "--every 5 does not fit"),
        (["--model", "full"], 3, "recorded.npz"),
    ],
)
def test_what_rotations_cannot_do_is_said(
    recorded_here: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, sentence: str
) -> None:
    weights = preset_weights(recorded_here.parent, "3dpw-smpl-pare")
    assert main(["run", str(recorded_here), "--weights", str(weights), "--quiet", *options]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_a_recording_that_is_missing_is_a_source_that_failed(model: Model, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file of recorded estimates"):
        Stream(tmp_path / "none.npz", models=model)

"""Sigma: where it stands, how it grows, and what its table in a weight file may hold."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from support.fakes import CatmullRom, FakeFrame, models, person, standing_pose
from support.networks import SHAPES, core_info, random_state

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.curve import WindowPoses
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.timeline import Timeline
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.skeleton import CARRIER, CORE_17
from mixsynth_stream.uncertainty import GROUPS, SPEEDS, SigmaTable, liveliness_on_grid, log_speeds
from mixsynth_stream.weights import load_model, load_weights, save_weights

PERIOD_S = 1 / 3
CONFIG = SHAPES["image-n10"]
GAP, AHEAD = (0, 2, 5, 8, 10), (1, 7, 14, 28)
WEIGHTS = np.array([[0.3, 0.2, 0.2, 0.2, 0.1], [0.4, 0.2, 0.2, 0.1, 0.1], [0.6, 0.1, 0.1, 0.1, 0.1]])


def made_up() -> SigmaTable:
    """A hump in the gap, growth ahead, twice as much in every column; the wrist's is three times the others'."""
    rows = np.array([0.01, 0.03, 0.05, 0.03, 0.01] * 2 + [0.02, 0.1, 0.2, 0.4])
    sigma = rows[:, None] * np.array([1.0, 2.0, 4.0]) * np.where(np.array(GROUPS) == "wrist", 3, 1)[:, None, None]
    multipliers = np.array([[[0.7, 2.0]] * len(GROUPS), [[0.8, 2.0]] * len(GROUPS)])
    return SigmaTable(GAP, GAP, AHEAD, (0.03, 0.3, 3.0), WEIGHTS, sigma, multipliers)


def with_table(space: str = "image") -> CatmullRom:
    model = CatmullRom(space)
    model.sigma_table = made_up()
    return model


def walked(
    count: int, *, unseen: tuple[int, ...] = (), speed_px_s: float = 90.0, size_px: float = 100.0
) -> MotionWindow:
    """A window after `count` keyframes; nobody was seen at those in `unseen`."""
    window = MotionWindow(with_table())
    for k in range(count):
        pose = standing_pose(x_px=200 + speed_px_s * k * PERIOD_S, size_px=size_px)
        window.push(None if k in unseen else pose, None, k * PERIOD_S)
    return window


def sigma_of(found: WindowPoses) -> np.ndarray:
    assert found.sigma is not None
    return found.sigma


def test_what_is_measured_or_missing_has_no_sigma_and_all_else_has_one():
    window = walked(6)
    newest = 5 * PERIOD_S
    found = window.at([-1.0, newest - 0.1, newest, newest + 0.1, newest + 2])
    sigma = sigma_of(found)
    assert found.origin[:, 0].tolist() == [
        Origin.MISSING, Origin.FILLED, Origin.MEASURED, Origin.FORECAST, Origin.HELD]  # fmt: skip
    assert np.isnan(sigma[[0, 2]]).all() and (sigma[[1, 3, 4]] > 0).all()
    assert np.isnan(sigma_of(MotionWindow(with_table()).at([0.0]))).all()


def test_sigma_is_largest_in_the_middle_of_a_gap_and_grows_with_the_horizon():
    window, newest = walked(6), 5 * PERIOD_S
    gap = sigma_of(window.at(newest - PERIOD_S + np.array([2, 5, 8]) / 30))
    assert (gap[1] > gap[0]).all() and (gap[1] > gap[2]).all()
    ahead = sigma_of(window.at(newest + np.arange(1, 60) / 30))
    assert (np.diff(ahead, axis=0) > 0).all()
    # Held: nothing is known, so it goes on in proportion to the time since the last sighting.
    np.testing.assert_allclose(sigma_of(window.at([newest + 56 / 30])), 2 * ahead[27:28], rtol=1e-6)


def test_sigma_follows_the_size_in_the_picture_and_the_liveliness():
    ahead = [5 * PERIOD_S + 0.2]
    slow, big = (walked(6, speed_px_s=0.9 * size, size_px=size) for size in (100.0, 300.0))
    np.testing.assert_allclose(sigma_of(big.at(ahead)), 3 * sigma_of(slow.at(ahead)), rtol=1e-5)
    assert (sigma_of(walked(6, speed_px_s=400.0).at(ahead)) > 1.1 * sigma_of(slow.at(ahead))).all()


def test_landmarks_off_the_network_take_their_carriers_sigma():
    sigma = sigma_of(walked(6).at([5 * PERIOD_S + 0.2]))[0]
    thumb, wrist, heel, ankle = 21, 15, 29, 27
    assert sigma[thumb] == sigma[wrist] and sigma[heel] == sigma[ankle]
    assert sigma[wrist] == pytest.approx(3 * sigma[13])  # the made-up table says so


def test_a_lost_keyframe_makes_the_gap_less_certain():
    whole, lost = walked(7), walked(7, unseen=(5,))
    middle = 5 * PERIOD_S
    in_gap = sigma_of(lost.at([middle - 0.1, middle, middle + 0.1]))
    assert lost.at([middle]).origin[0, 0] == Origin.FILLED
    assert (in_gap[1] > in_gap[0]).all() and (in_gap[1] > in_gap[2]).all()
    assert (in_gap[[0, 2]] > sigma_of(whole.at([middle - 0.1, middle + 0.1]))).all()


def test_a_joint_that_was_not_seen_is_less_certain_than_the_others():
    window = walked(5)
    pose = standing_pose(x_px=200 + 90 * 5 * PERIOD_S)
    pose[13] = np.nan
    window.push(pose, None, 5 * PERIOD_S)
    sigma = sigma_of(window.at([5 * PERIOD_S, 5 * PERIOD_S + 0.1]))
    assert np.isnan(sigma[0, 14]) and sigma[0, 13] > 0
    assert sigma[1, 13] > 1.5 * sigma[1, 14]


def test_the_first_keyframe_alone_is_held_with_a_growing_sigma():
    window = walked(1)
    found = window.at([0.0, 0.1, 0.3])
    assert found.origin[1, 0] == Origin.HELD
    sigma = sigma_of(found)
    assert np.isnan(sigma[0]).all() and (sigma[2] > sigma[1]).all() and (sigma[1] > 0).all()


def test_without_a_table_there_is_no_sigma():
    window = MotionWindow(CatmullRom())
    window.push(standing_pose(), None, 0.0)
    assert window.at([0.1]).sigma is None


@pytest.mark.parametrize("lag", [0, 1])
def test_motion_and_forecast_carry_pixels_and_metres(lag):
    pair = with_table("image"), with_table("world")
    timeline = Timeline(People(pair, max_people=2), lag=lag, horizon_s=0.2)
    motions = []
    for index in range(31):
        frame = FakeFrame(index, index / 30)
        if index % 10:
            motions += timeline.frame(frame)
        else:
            motions += timeline.keyframe(frame, [person(x_px=200.0 + index), person(x_px=500.0 - index)])
    motions += timeline.flush()
    for motion in motions:
        for sigma in (motion.sigma, motion.world_sigma):
            assert sigma is not None and sigma.shape == (len(motion.ids), 33)
            measured = np.isin(motion.origin, (Origin.MEASURED, Origin.MISSING))
            assert (np.isnan(sigma) == measured).all()
    last = next(motion for motion in motions if motion.index == 25 and motion.final)
    assert last.forecast.sigma is not None and last.forecast.world_sigma is not None
    assert last.forecast.sigma.shape == last.forecast.world_sigma.shape == (2, 6, 33)
    # 100 pixels are half a metre of these people.
    assert np.nanmedian(last.forecast.sigma) > 20 * np.nanmedian(last.forecast.world_sigma)


def test_somebody_without_a_table_in_one_space_only_has_the_other():
    pair = with_table("image"), models()[1]
    scene = People(pair, max_people=1).observe([person()], 0.0, 480.0)
    assert scene.at([0.1]).sigma is not None and scene.at([0.1]).world_sigma is None
    assert People(pair, max_people=1).empty_scene().at([0.0]).sigma is not None


def test_what_makes_up_the_liveliness_are_speeds():
    rng = np.random.default_rng(0)
    keyframes = rng.normal(0, 1, (3, 5, 17, 2)).cumsum(axis=1)
    once, twice = (np.exp(log_speeds(keyframes * factor, PERIOD_S)) for factor in (1, 2))
    assert once.shape == (3, 4, 17, len(SPEEDS))
    np.testing.assert_allclose(twice / once, 2, rtol=0.3)
    np.testing.assert_allclose(np.median(twice / once), 2, rtol=0.02)
    np.testing.assert_allclose(np.exp(log_speeds(keyframes, PERIOD_S / 2)), twice)
    still = np.exp(log_speeds(np.ones((5, 17, 2)), PERIOD_S))
    assert (still > 0).all() and (still < once.min()).all()


def test_steady_motion_has_speed_and_no_change_and_a_start_has_both():
    steady = np.arange(5.0)[:, None, None] * np.ones((17, 2))
    speeds = dict(zip(SPEEDS, np.moveaxis(np.exp(log_speeds(steady, PERIOD_S)), -1, 0), strict=True))
    np.testing.assert_allclose(speeds["speed"], 3 * np.sqrt(2), rtol=0.01)
    assert all((speeds[name] < 0.03).all() for name in SPEEDS if name != "speed")
    start = np.maximum(np.arange(5.0) - 3, 0)[:, None, None] * np.ones((17, 2))
    speeds = dict(zip(SPEEDS, np.moveaxis(np.exp(log_speeds(start, PERIOD_S)), -1, 0), strict=True))
    assert (speeds["change"][-1] > 4).all() and (speeds["change"][:-1] < 0.03).all()
    assert (speeds["feet_jerk"] > 1).all()


@pytest.mark.parametrize("keyframes", [2, 3])
def test_speeds_of_the_shortest_windows(keyframes):
    poses = np.arange(keyframes)[:, None, None] ** 2 * np.ones((17, 3))
    assert np.isfinite(log_speeds(poses, PERIOD_S)).all()


def test_sigma_never_falls_with_the_horizon_where_only_a_change_was_seen():
    # The weights of the horizon look at speed, of which the last interval has little.
    keyframes = np.zeros((5, 17, 2))
    keyframes[:4, :, 0] = np.array([0.0, 1.0, 0.0, 1.0])[:, None]
    keyframes[4] = keyframes[3]
    rows = np.full((len(GROUPS), 14, 1), 0.1) * np.array([1.0, 10.0, 100.0])
    table = dataclasses.replace(made_up(), sigma=rows)
    sigma = table.on_grid(keyframes, CONFIG, 30.0)
    assert (np.diff(sigma[CONFIG.newest + 1 :], axis=0) >= 0).all()


def test_grid_and_table_agree_where_a_row_stands():
    table = made_up()
    keyframes = np.zeros((5, 17, 2))  # nobody moves: the first column
    sigma = table.on_grid(keyframes, CONFIG, 30.0)
    assert sigma.shape == (CONFIG.seq_len, 17)
    for step, value in ((30, 0.01), (35, 0.05), (25, 0.05), (5, 0.05), (41, 0.02), (54, 0.2), (68, 0.4)):
        np.testing.assert_allclose(sigma[step, CORE_17.index("nose")], value)
    np.testing.assert_allclose(sigma[44, 0], 0.06)  # half-way between 1 and 7 steps ahead


@pytest.mark.parametrize("step", [1, 2, 4])
def test_sigma_is_that_of_the_table_at_the_liveliness_of_each_step(step):
    table, config = made_up(), dataclasses.replace(CONFIG, step=step)
    keyframes = np.random.default_rng(step).normal(0, 0.1, (3, step + 1, 17, 2)).cumsum(axis=1)
    level = liveliness_on_grid(log_speeds(keyframes, PERIOD_S), table.weights, config)  # [3, 17, T]
    assert np.log(0.03) < level.min() < level.max() < np.log(3.0)
    # The made-up table doubles from column to column.
    columns = np.interp(level, np.log(table.liveliness), np.log([1.0, 2.0, 4.0]))
    expected = np.swapaxes(np.exp(columns), 1, 2) * table.on_grid(np.zeros((step + 1, 17, 2)), config, 30.0)
    ahead = slice(config.newest + 1, None)
    expected[:, ahead] = np.maximum.accumulate(expected[:, ahead], axis=1)
    np.testing.assert_allclose(table.on_grid(keyframes, config, 30.0), expected, rtol=1e-9)


def test_beyond_the_liveliest_column_sigma_goes_on_growing():
    frantic = np.random.default_rng(1).normal(0, 50, (5, 17, 2))
    table = made_up()
    one, ten = (table.on_grid(frantic * factor, CONFIG, 30.0) for factor in (1, 10))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-3)


def test_a_weight_file_carries_its_table(tmp_path):
    path = tmp_path / "image.safetensors"
    info = dataclasses.replace(core_info(), uncertainty=made_up().as_json())
    save_weights(path, random_state(CONFIG), CONFIG, info)
    assert load_weights(path)[2] == info
    found = load_model(path).sigma_table
    assert found is not None
    assert (found.gap, found.ahead, found.liveliness) == (GAP, AHEAD, (0.03, 0.3, 3.0))
    np.testing.assert_allclose(found.sigma, made_up().sigma, rtol=0.005)
    np.testing.assert_allclose(found.multipliers, made_up().multipliers)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 1}, "version 1 is not the version 2 .* fit the table again"),
        ({"weights": {"gap": {"speed": 1}}}, "'change' is missing"),
        ({"weights": {stage: dict.fromkeys(SPEEDS, 0.3) for stage in ("gap", "newest", "horizon")}}, "add up to 1"),
        ({"sigma": {}}, "'nose' is missing"),
        ({"liveliness": "1 0.5 2"}, "increasing positive speeds"),
        ({"liveliness": "0.1 1"}, r"sigma must be \[9, 14, 3\]|sigma must be \[9, 14, 2\]"),
        ({"gap_steps": [0, 2, 5, 8, 9]}, "gaps of 9 .* but the network has 10"),
        ({"ahead_steps": "soon"}, "the uncertainty table is wrong"),
        ({"multipliers": {"filled": 3, "forecast": 4}}, "wrong type"),
    ],
)
def test_a_damaged_table_is_refused_in_words(tmp_path, change, sentence):
    info = dataclasses.replace(core_info(), uncertainty=made_up().as_json() | change)
    with pytest.raises(ModelError, match=sentence):
        save_weights(tmp_path / "image.safetensors", random_state(CONFIG), CONFIG, info)


def test_a_table_of_nan_is_refused():
    fields = json.loads(json.dumps(made_up().as_json()))
    fields["sigma"]["hip"][0] = "nan nan nan"
    with pytest.raises(ValueError, match="sigma must be positive numbers"):
        SigmaTable.from_json(fields)


def test_a_bound_is_asked_for_by_name():
    table = made_up()
    assert table.multiplier("forecast", 0.5).tolist() == [0.8] * 17
    with pytest.raises(ValueError, match="bounds are known for"):
        table.multiplier("ahead", 0.5)


def test_every_landmark_has_a_group():
    assert len(made_up().multiplier("filled", 0.9)[list(CARRIER)]) == 33

"""Uncertainty: speeds and liveliness, sigma on the grid, and what a table in a weight file may hold."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from support.fakes import AHEAD_STEPS, GAP_STEPS, sigma_table
from support.networks import SHAPES, core_info, random_state

from mixsynth_stream.errors import ModelError
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.spaces import SPACES
from mixsynth_stream.uncertainty import GROUPS, SPEEDS, SigmaTable, liveliness_on_grid, log_speeds
from mixsynth_stream.weights import load_model, load_weights, save_weights

PERIOD_S = 1 / 3
CONFIG = SHAPES["image-n10"]


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
    table = dataclasses.replace(sigma_table(), sigma=rows)
    sigma = table.on_grid(keyframes, CONFIG, 30.0)
    assert (np.diff(sigma[CONFIG.newest + 1 :], axis=0) >= 0).all()


def test_grid_and_table_agree_where_a_row_stands():
    table = sigma_table()
    keyframes = np.zeros((5, 17, 2))  # nobody moves: the first column
    sigma = table.on_grid(keyframes, CONFIG, 30.0)
    assert sigma.shape == (CONFIG.seq_len, 17)
    for step, value in ((30, 0.01), (35, 0.05), (25, 0.05), (5, 0.05), (41, 0.02), (54, 0.2), (68, 0.4)):
        np.testing.assert_allclose(sigma[step, CORE_17.index("nose")], value)
    np.testing.assert_allclose(sigma[44, 0], 0.06)  # half-way between 1 and 7 steps ahead


@pytest.mark.parametrize("step", [1, 2, 4])
def test_sigma_is_that_of_the_table_at_the_liveliness_of_each_step(step):
    table, config = sigma_table(), dataclasses.replace(CONFIG, step=step)
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
    table = sigma_table()
    one, ten = (table.on_grid(frantic * factor, CONFIG, 30.0) for factor in (1, 10))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-3)


def test_a_weight_file_carries_its_table(tmp_path):
    path = tmp_path / "image.safetensors"
    info = dataclasses.replace(core_info(), uncertainty=sigma_table().as_json())
    save_weights(path, random_state(CONFIG), CONFIG, info)
    assert load_weights(path)[2] == info
    table = load_model(path).sigma_table
    assert table is not None
    assert (table.gap, table.ahead, table.liveliness) == (GAP_STEPS, AHEAD_STEPS, (0.03, 0.3, 3.0))
    np.testing.assert_allclose(table.sigma, sigma_table().sigma, rtol=0.005)
    np.testing.assert_allclose(table.multipliers, sigma_table().multipliers)


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
    info = dataclasses.replace(core_info(), uncertainty=sigma_table().as_json() | change)
    with pytest.raises(ModelError, match=sentence):
        save_weights(tmp_path / "image.safetensors", random_state(CONFIG), CONFIG, info)


def test_a_table_of_nan_is_refused():
    fields = json.loads(json.dumps(sigma_table().as_json()))
    fields["sigma"]["hip"][0] = "nan nan nan"
    with pytest.raises(ValueError, match="sigma must be positive numbers"):
        SigmaTable.from_json(fields)


def test_a_bound_is_asked_for_by_name():
    table = sigma_table()
    assert table.multiplier("forecast", 0.5).tolist() == [0.8] * 17
    with pytest.raises(ValueError, match="bounds are known for"):
        table.multiplier("ahead", 0.5)


def test_every_landmark_has_a_group():
    assert len(sigma_table().multiplier("filled", 0.9)[SPACES["image"].carrier]) == 33

"""Keyframes at irregular times, and joints that an estimator does not give, in windows of training."""

from __future__ import annotations

import numpy as np
import pytest
from support.walker import clip, person

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.estimator_noise import EstimatorNoise
from mixsynth_stream.data.variation import look_steps, on_grid, seen_joints, without_unseen
from mixsynth_stream.data.windows import WindowSampler
from mixsynth_stream.interpolation import catmull_rom_at, catmull_rom_matrix, catmull_rom_of_one
from mixsynth_stream.normalise import whole_pose
from mixsynth_stream.skeleton import CORE_17

CONFIG = ModelConfig(sample_interval=10, step=4, joint_dim=34, emb_dim=8, num_encoder_layers=1, horizon=28)
NO_NOISE = EstimatorNoise(slow_scale=0, fast_scale=0, outlier=0, swap=0, lost_chance=0)


def test_looks_come_at_all_distances_and_end_at_the_newest_keyframe() -> None:
    steps = look_steps(np.random.default_rng(0), 2000, CONFIG)
    assert (steps[:, -1] == CONFIG.newest).all() and steps.min() == 0
    spacing = np.diff(steps)
    assert (spacing >= 0).all()
    newest = spacing[:, -1]
    assert newest.min() <= 3 and newest.max() >= 25
    # A quick estimator stays quick: spacings of a window are alike.
    assert np.corrcoef(newest, spacing[:, -2])[0, 1] > 0.5


@pytest.mark.parametrize("step", [1, 2, 4])
def test_at_even_times_the_curve_is_catmull_roms(step: int) -> None:
    knots = np.random.default_rng(1).normal(0, 1, (3, step + 1, 2))
    time = np.broadcast_to(np.arange(step + 1) * 10.0, (3, step + 1))
    at = np.arange(10 * step + 1.0)
    curve = catmull_rom_at(time, knots, np.broadcast_to(at, (3, len(at))))
    np.testing.assert_allclose(curve, catmull_rom_matrix(10, step) @ knots, atol=1e-12)


def test_beyond_its_ends_and_through_equal_times_the_curve_is_constant() -> None:
    time, knots = np.array([2.0, 2.0, 3.0]), np.array([[5.0], [5.0], [7.0]])
    curve = catmull_rom_at(time, knots, np.array([0.0, 2.0, 3.0, 9.0]))
    assert curve[:, 0].tolist() == [5, 5, 7, 7]
    assert catmull_rom_at(time[:1], knots[:1], np.array([1.0, 4.0]))[:, 0].tolist() == [5, 5]


@pytest.mark.parametrize("knots", [1, 2, 3, 20])
def test_one_curve_is_read_to_the_bit_as_many_are(knots: int) -> None:
    random = np.random.default_rng(knots)
    time, values = np.cumsum(random.uniform(0.01, 0.4, knots)), random.normal(0, 100, (knots, 7))
    at = np.sort([*random.uniform(time[0] - 0.2, time[-1] + 0.2, 30), *time])
    np.testing.assert_array_equal(catmull_rom_of_one(time, values, at), catmull_rom_at(time, values, at))


def test_steady_motion_is_the_same_on_the_grid() -> None:
    rng = np.random.default_rng(2)
    steps = look_steps(rng, 50, CONFIG)
    speed = rng.normal(0, 1, (50, 1, 17, 2))
    grid = np.arange(0, CONFIG.newest + 1, 10)
    expected = speed * grid[:, None, None]
    poses = on_grid(speed * steps[:, :, None, None], steps, grid)
    # Looks before the window are at its first step; past the second look that is not, all tangents are the motion's.
    second = np.take_along_axis(steps, (steps > 0).argmax(axis=1)[:, None] + 1, axis=1)
    np.testing.assert_allclose(poses[grid >= second], expected[grid >= second], rtol=1e-5)
    assert (grid >= second).mean() > 0.5


def test_some_windows_lack_the_joints_of_a_skeleton_a_limb_or_any() -> None:
    seen = seen_joints(np.random.default_rng(0), 4000, 0.25)
    partial = ~seen.all(axis=1)
    assert 0.22 < partial.mean() < 0.28
    assert seen.sum(axis=1).min() >= 10
    assert not seen.all(axis=0).any(), "every joint is missing somewhere"
    names = {tuple(name for name, there in zip(CORE_17.joints, row, strict=True) if not there) for row in seen}
    feet = ("left_foot_index", "right_foot_index")
    assert any(set(gone) == {"left_index", "right_index", *feet} for gone in names), "COCO-17"


def test_unseen_joints_stand_where_a_stream_puts_them() -> None:
    rng = np.random.default_rng(3)
    keyframes = rng.normal(0, 100, (6, 5, 17, 2)).astype(np.float32)
    seen = seen_joints(rng, 6, 1.0)
    result = without_unseen(keyframes, seen)
    for window, rows in enumerate(seen):
        np.testing.assert_array_equal(result[window][:, rows], keyframes[window][:, rows])
        holes = np.where(rows[:, None], keyframes[window], np.nan)
        np.testing.assert_allclose(result[window], whole_pose(holes), rtol=1e-4, atol=1e-2)
    assert without_unseen(keyframes, np.ones((6, 17), bool)) is keyframes


def test_without_noise_irregular_keyframes_are_near_the_motion() -> None:
    sampler = WindowSampler([clip(person(400))], CONFIG, "world", seed=0, noise=NO_NOISE, irregular=1.0, partial=0.0)
    windows = sampler.draw(64)
    steps = slice(0, CONFIG.newest + 1, 10)
    error = np.linalg.norm(windows.keyframes - windows.clean[:, steps], axis=-1)
    np.testing.assert_allclose(error[:, -1], 0, atol=1e-6)
    wrist = error[..., CORE_17.index("left_wrist")][windows.valid[:, steps]]
    assert 0.1 < (wrist > 1e-3).mean() < 1, "one arm swings, and many of its slots lie between looks"
    assert np.median(wrist) < 0.05
    assert windows.seen is not None and windows.seen.all()


def test_a_window_says_which_joints_it_lacks() -> None:
    sampler = WindowSampler([clip(person(400))], CONFIG, "image", seed=0, partial=1.0)
    windows = sampler.draw(16)
    assert windows.seen is not None and not windows.seen.all(axis=1).any()
    np.testing.assert_array_equal(without_unseen(windows.keyframes, windows.seen), windows.keyframes)

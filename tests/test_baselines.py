"""Baselines against scipy, and against motions on which each is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from mixsynth_stream.baselines import FILLERS, FORECASTERS, baselines, catmull_rom, damped_velocity, linear, pchip
from mixsynth_stream.interpolation import catmull_rom_matrix

N, Q, H = 10, 4, 28
STEPS = np.arange(N * Q + 1 + H, dtype=float)
INSIDE = STEPS <= N * Q


def _keyframes(seed: int, count: int = Q + 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    keyframes = rng.normal(size=(3, count, 17, 2))
    # Plateaus and repeats, where monotone slopes have their special cases.
    keyframes[1] = np.round(keyframes[1])
    return keyframes


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 7))
def test_pchip_equals_scipy(seed: int, count: int):
    keyframes = _keyframes(seed, count)
    steps = np.linspace(0, N * (count - 1), 83)
    expected = PchipInterpolator(np.arange(count) * N, keyframes, axis=1)(steps)
    np.testing.assert_allclose(pchip(keyframes, N, steps), expected, atol=1e-12)


def test_linear_equals_numpy():
    keyframes = _keyframes(0)
    steps = np.linspace(0, N * Q, 57)
    expected = np.interp(steps, np.arange(Q + 1) * N, keyframes[2, :, 5, 1])
    np.testing.assert_allclose(linear(keyframes, N, steps)[2, :, 5, 1], expected, atol=1e-12)


def test_catmull_rom_equals_scipys_hermite_spline_on_whole_steps():
    keyframes = _keyframes(0)
    tangents = np.gradient(keyframes, N, axis=1)
    expected = CubicHermiteSpline(np.arange(Q + 1) * N, keyframes, tangents, axis=1)(STEPS[INSIDE])
    np.testing.assert_allclose(catmull_rom(keyframes, N, STEPS[INSIDE]), expected, atol=1e-12)


def test_damped_velocity_is_the_start_of_the_network():
    keyframes = _keyframes(1)
    expected = np.einsum("tq,bqjd->btjd", catmull_rom_matrix(N, Q, H), keyframes)
    np.testing.assert_allclose(damped_velocity(keyframes, N, STEPS)[:, N * Q :], expected[:, N * Q :], atol=1e-12)


@pytest.mark.parametrize("name", FILLERS)
def test_gap_fillers_pass_through_keyframes_and_say_nothing_ahead(name: str):
    keyframes = _keyframes(2)
    poses = baselines(2.0)[name](keyframes, N, STEPS)
    np.testing.assert_allclose(poses[:, : N * Q + 1 : N], keyframes, atol=1e-12)
    assert np.isfinite(poses[:, INSIDE]).all()
    assert np.isnan(poses[:, ~INSIDE]).all()


@pytest.mark.parametrize("name", FILLERS)
def test_gap_fillers_are_exact_on_steady_motion_between_steps_too(name: str):
    steps = np.array([0.0, 3.25, 9.999, 17.5, 40.0])
    keyframes = (np.arange(Q + 1) * N * 0.3)[None, :, None, None] * np.ones((1, 1, 17, 2))
    np.testing.assert_allclose(baselines(2.0)[name](keyframes, N, steps)[0, :, 0, 0], 0.3 * steps, atol=1e-12)


@pytest.mark.parametrize("name", FORECASTERS)
def test_forecasters_start_at_the_newest_keyframe_and_say_nothing_before(name: str):
    keyframes = _keyframes(3)
    poses = baselines(2.0)[name](keyframes, N, STEPS)
    np.testing.assert_allclose(poses[:, N * Q], keyframes[:, -1], atol=1e-12)
    assert np.isnan(poses[:, : N * Q]).all()
    assert np.isfinite(poses[:, N * Q :]).all()


def test_forecasters_on_steady_motion():
    keyframes = (np.arange(Q + 1) * 1.0)[None, :, None, None] * np.ones((1, 1, 17, 2))
    steps = np.array([40.0, 50.0, 55.5])
    named = {name: method(keyframes, N, steps)[0, :, 0, 0] for name, method in baselines(10.0).items()}
    np.testing.assert_allclose(named["hold"], 4.0)
    np.testing.assert_allclose(named["constant_velocity"], [4.0, 5.0, 5.55])
    np.testing.assert_allclose(named["damped_tuned"], 4 + 1 - np.exp(-np.array([0.0, 1.0, 1.55])))


def test_a_single_keyframe_is_refused():
    with pytest.raises(ValueError, match="at least two keyframes"):
        pchip(np.zeros((1, 1, 17, 2)), N, STEPS)

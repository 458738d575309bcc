"""Baselines against scipy, and against motions on which each is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline, CubicSpline, PchipInterpolator, make_smoothing_spline

from mixsynth_stream.evaluate.baselines import (
    FILLERS,
    FORECASTERS,
    TUNED,
    baselines,
    catmull_rom,
    cubic,
    damped_velocity,
    kalman,
    linear,
    pchip,
    tuned,
    tuned_baselines,
)
from mixsynth_stream.evaluate.filters import one_euro
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


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_cubic_equals_scipys_natural_spline(count: int):
    keyframes, steps = _keyframes(4, count), np.arange(N * (count - 1) + 1.0)
    expected = CubicSpline(np.arange(count) * N, keyframes, axis=1, bc_type="natural")(steps)
    np.testing.assert_allclose(cubic(keyframes, N, steps), expected, atol=1e-12)


def test_cubic_between_two_keyframes_is_a_straight_line():
    keyframes, steps = _keyframes(4, 2), np.arange(N + 1.0)
    np.testing.assert_allclose(cubic(keyframes, N, steps), linear(keyframes, N, steps), atol=1e-12)


@pytest.mark.parametrize("noise", [0.003, 0.1, 3.0])
def test_kalman_equals_scipys_smoothing_spline(noise: float):
    """A constant-velocity smoother that knows nothing beforehand is a cubic smoothing spline (Wahba 1978)."""
    keyframes, steps = _keyframes(5, 6), np.arange(N * 5 + 1 + H, dtype=float)
    spline = make_smoothing_spline(np.arange(6.0), keyframes, lam=noise, axis=1)
    newest = 5.0
    ahead = spline(newest) + spline.derivative()(newest) * (steps - N * 5)[:, None, None, None] / N
    poses = kalman(keyframes, N, steps, gap_noise=noise, noise=noise)
    np.testing.assert_allclose(poses[:, : N * 5 + 1], spline(steps[: N * 5 + 1] / N), atol=1e-4)
    np.testing.assert_allclose(poses[:, N * 5 :], np.moveaxis(ahead, 0, 1)[:, N * 5 :], atol=1e-3)


def test_kalman_has_one_noise_for_the_gaps_and_one_ahead():
    keyframes = _keyframes(6)
    mixed = kalman(keyframes, N, STEPS, gap_noise=0.01, noise=1.0)
    gap, ahead = (kalman(keyframes, N, STEPS, gap_noise=v, noise=v) for v in (0.01, 1.0))
    np.testing.assert_array_equal(mixed[:, : N * Q], gap[:, : N * Q])
    np.testing.assert_array_equal(mixed[:, N * Q :], ahead[:, N * Q :])


def test_one_euro_calms_what_is_still_and_follows_what_moves():
    rng, steps = np.random.default_rng(0), np.arange(90)
    still = 0.02 * rng.normal(size=(1, 90, 17, 2))
    moving = still + (steps / 30.0)[:, None, None]  # one unit a second
    calm = one_euro(still, 30.0, 1.0, 0.0)
    assert calm[:, 30:].std() < 0.5 * still[:, 30:].std()
    late, lively = (one_euro(moving, 30.0, 1.0, beta) for beta in (0.0, 8.0))
    # A low-pass lags by its time constant, 1 / (2 pi Hz), behind a ramp.
    assert np.mean((moving - late)[:, 45:]) == pytest.approx(1 / (2 * np.pi), rel=0.1)
    assert np.mean((moving - lively)[:, 45:]) < 0.03


def test_one_euro_starts_where_the_estimates_start_and_loses_nothing_without_smoothing():
    poses = np.random.default_rng(1).normal(size=(2, 20, 17, 3))
    poses[1, :7] = np.nan
    np.testing.assert_allclose(one_euro(poses, 30.0, 1e9, 0.0), poses, atol=1e-6)
    smooth = one_euro(poses, 30.0, 1.0, 0.5)
    np.testing.assert_array_equal(smooth[:, 0][0], poses[0, 0])
    np.testing.assert_array_equal(smooth[1, :8], poses[1, :8])
    np.testing.assert_allclose(smooth[1, 7:], one_euro(poses[1:, 7:], 30.0, 1.0, 0.5)[0])


def test_tuned_parameters_are_those_of_the_nearest_spacing():
    for space, by_interval in TUNED.items():
        assert set(by_interval) == {5, 10, 15}
        assert tuned(space, 1) is by_interval[5]
        assert tuned(space, 10) is by_interval[10]
        assert tuned(space, 30) is by_interval[15]


def test_damped_velocity_is_the_start_of_the_network():
    keyframes = _keyframes(1)
    expected = np.einsum("tq,bqjd->btjd", catmull_rom_matrix(N, Q, H), keyframes)
    np.testing.assert_allclose(damped_velocity(keyframes, N, STEPS)[:, N * Q :], expected[:, N * Q :], atol=1e-12)


@pytest.mark.parametrize("name", FILLERS)
def test_gap_fillers_pass_through_keyframes_and_have_no_answer_ahead(name: str):
    keyframes = _keyframes(2)
    poses = tuned_baselines("image", N)[name](keyframes, N, STEPS)
    np.testing.assert_allclose(poses[:, : N * Q + 1 : N], keyframes, atol=1e-12)
    assert np.isfinite(poses[:, INSIDE]).all()
    assert np.isnan(poses[:, ~INSIDE]).all()


@pytest.mark.parametrize("name", FILLERS)
def test_gap_fillers_are_exact_on_steady_motion_between_steps_too(name: str):
    steps = np.array([0.0, 3.25, 9.999, 17.5, 40.0])
    keyframes = (np.arange(Q + 1) * N * 0.3)[None, :, None, None] * np.ones((1, 1, 17, 2))
    np.testing.assert_allclose(
        tuned_baselines("image", N)[name](keyframes, N, steps)[0, :, 0, 0], 0.3 * steps, atol=1e-12
    )


@pytest.mark.parametrize("name", [name for name in FORECASTERS if name != "kalman"])
def test_forecasters_start_at_the_newest_keyframe_and_have_no_answer_before(name: str):
    keyframes = _keyframes(3)
    poses = baselines(2.0)[name](keyframes, N, STEPS)
    np.testing.assert_allclose(poses[:, N * Q], keyframes[:, -1], atol=1e-12)
    assert np.isnan(poses[:, : N * Q]).all()
    assert np.isfinite(poses[:, N * Q :]).all()


def test_forecasters_on_steady_motion():
    keyframes = (np.arange(Q + 1) * 1.0)[None, :, None, None] * np.ones((1, 1, 17, 2))
    steps = np.array([40.0, 50.0, 55.5])
    by_name = {name: method(keyframes, N, steps)[0, :, 0, 0] for name, method in baselines(10.0).items()}
    np.testing.assert_allclose(by_name["hold"], 4.0)
    np.testing.assert_allclose(by_name["constant_velocity"], [4.0, 5.0, 5.55])
    np.testing.assert_allclose(by_name["damped_tuned"], 4 + 1 - np.exp(-np.array([0.0, 1.0, 1.55])))


def test_a_single_keyframe_is_refused():
    with pytest.raises(ValueError, match="at least two keyframes"):
        pchip(np.zeros((1, 1, 17, 2)), N, STEPS)

"""CaptureClock: pictures keep the spacing with which they were taken, whatever the network does to them."""

from __future__ import annotations

import numpy as np
import pytest

from mixsynth_stream.pipeline.sources.timing.clock import CaptureClock

COUNT, RATE_HZ = 900, 30
TAKEN_S = np.arange(COUNT) / RATE_HZ


def times(stamps: np.ndarray, received: np.ndarray) -> np.ndarray:
    clock = CaptureClock()
    result = np.array([clock.time_s(*pair) for pair in zip(stamps, received, strict=True)])
    assert (np.diff(result) > 0).all()
    assert (result <= np.maximum.accumulate(received) + 1e-9).all()
    return result


def spacing_errors(result: np.ndarray) -> np.ndarray:
    return abs(np.diff(result) - 1 / RATE_HZ)


@pytest.mark.parametrize("seed", range(5))
def test_bursts_keep_the_spacing_of_the_camera(seed):
    rng = np.random.default_rng(seed)
    sent = np.cumsum(rng.uniform(0.045, 0.255, COUNT))
    received = sent[np.searchsorted(sent, TAKEN_S)] + 1e-5 * np.arange(COUNT)
    result = times(TAKEN_S + 1000.0, received)
    assert np.percentile(spacing_errors(received), 95) > 0.1
    assert np.percentile(spacing_errors(result), 95) < 0.005
    assert abs(result - TAKEN_S)[2 * RATE_HZ :].max() < 0.03


def test_pictures_that_were_held_back_are_as_old_as_they_are():
    received = TAKEN_S + 0.02
    received[300:390] = received[390]
    result = times(TAKEN_S, received)
    np.testing.assert_allclose(result, TAKEN_S + 0.02, atol=1e-6)


def test_a_start_in_a_burst_is_mended_within_a_second():
    received = TAKEN_S + 0.02
    received[:12] = received[12]
    result = times(TAKEN_S, received)
    np.testing.assert_allclose(result[RATE_HZ:], TAKEN_S[RATE_HZ:] + 0.02, atol=1e-6)


@pytest.mark.parametrize("made_up_hz", [25.0, 29.0, 60.0])
def test_stamps_of_another_rate_are_not_believed(made_up_hz):
    rng = np.random.default_rng(0)
    received = TAKEN_S + rng.uniform(0, 0.005, COUNT)
    result = times(np.arange(COUNT) / made_up_hz, received)
    assert abs(result - received)[6 * RATE_HZ :].max() < 1e-6


def test_a_clock_that_drifts_is_followed():
    result = times(TAKEN_S * (1 + 200e-6), TAKEN_S + 0.02)
    assert abs(result - TAKEN_S - 0.02).max() < 0.005


def test_stamps_that_jump_begin_anew():
    rng = np.random.default_rng(0)
    stamps = TAKEN_S.copy()
    stamps[300:] -= 5.0
    stamps[600:] += 100.0
    result = times(stamps, TAKEN_S + 0.02 + rng.uniform(0, 0.01, COUNT))
    assert spacing_errors(result).max() < 0.015


def test_pictures_without_stamps_have_the_time_at_which_they_came():
    clock = CaptureClock()
    assert [clock.time_s(None, received) for received in (1.0, 1.5)] == [1.0, 1.5]
    assert clock.time_s(None, 1.5) > 1.5

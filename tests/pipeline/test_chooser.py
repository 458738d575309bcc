"""KeyframeChooser and Budget: keyframes where motion makes them worth it, within bounds and a budget."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixsynth_stream.pipeline.budget import Budget
from mixsynth_stream.pipeline.keyframes import LEAST_STEPS, MOST_STEPS, KeyframeChooser

RATE_HZ = 60.0
HALF_TICK_S = 2e-3


def chosen_times(growth, calls_hz, seconds=20.0, rate_hz=RATE_HZ):
    """Keyframe times where the error of now grows since a keyframe by `growth(time_s)` body scales a second."""
    chooser, keyframes, error = KeyframeChooser(calls_hz), [], 0.0
    for time_s in np.arange(round(seconds * rate_hz)) / rate_hz:
        error += growth(time_s) / rate_hz
        chooser.see(time_s, error)
        if chooser.is_due(time_s):
            chooser.tick(time_s)
            keyframes.append(time_s)
            error = 0.0
    return np.array(keyframes)


@pytest.mark.parametrize("calls_hz", [2.5, 3.0, 4.0, 6.0])
@pytest.mark.parametrize("growth", [0.15, 0.3, 0.8])
def test_steady_motion_gets_the_budget(calls_hz, growth):
    assert len(chosen_times(lambda _: growth, calls_hz)) / 20 == pytest.approx(calls_hz, rel=0.08)


def test_lively_moments_get_the_calls_that_calm_ones_leave():
    times = chosen_times(lambda time_s: 0.8 if time_s % 4 < 1 else 0.1, calls_hz=4.0)
    lively = times[times % 4 < 1]
    # Where motion is 8 times as fast, the best spacing is the root of that closer.
    assert 1.8 < len(lively) / ((len(times) - len(lively)) / 3) < 3.2
    assert len(times) <= 4.0 * 20 + 4


def test_a_still_person_gets_few_looks_whatever_the_budget():
    assert len(chosen_times(lambda _: 0.01, calls_hz=10.0)) / 20 == pytest.approx(30 / MOST_STEPS, rel=0.05)


@given(
    st.lists(st.floats(0.0, 3.0), min_size=20, max_size=60),
    st.floats(2.0, 10.0),
    st.sampled_from([24.0, 30.0, 60.0]),
)
def test_spacing_stays_within_bounds_and_calls_within_the_budget(growths, calls_hz, rate_hz):
    times = chosen_times(lambda time_s: growths[int(time_s * 4) % len(growths)], calls_hz, 15.0, rate_hz)
    gaps = np.diff(times)
    assert gaps.min() >= LEAST_STEPS / 30 - HALF_TICK_S - 1e-9
    assert gaps.max() <= MOST_STEPS / 30 + 1 / rate_hz
    for first in range(len(times)):
        spans = times[first:] - times[first]
        # What was saved in two seconds may be spent at once; a still person is looked at in any case.
        assert (np.arange(len(spans)) <= calls_hz * (spans + 2.0) + 1 + 1e-9).all()


def test_after_news_the_next_keyframe_comes_soon_and_within_the_budget():
    chooser, keyframes = KeyframeChooser(3.0), []
    for time_s in np.arange(600) / 30:
        chooser.see(time_s, 0.0)
        if chooser.is_due(time_s):
            chooser.tick(time_s)
            keyframes.append(time_s)
            if time_s < 0.1 or time_s > 10:
                chooser.hurry()
    assert keyframes[1] == pytest.approx(5 / 30) and keyframes[2] - keyframes[1] == pytest.approx(MOST_STEPS / 30)
    assert 3.0 * 10 <= (np.array(keyframes) > 10).sum() <= 3.0 * (10 + 2) + 1  # with what two calm seconds saved


def test_a_slow_source_is_looked_at_in_every_frame():
    times = chosen_times(lambda _: 0.5, 10.0, 20.0, rate_hz=1.5)
    assert len(times) == 30


def test_where_nothing_is_known_keyframes_come_at_the_budget():
    chooser, keyframes = KeyframeChooser(3.0), []
    for time_s in np.arange(600) / 30:
        chooser.see(time_s, None)
        if chooser.is_due(time_s):
            chooser.tick(time_s)
            keyframes.append(time_s)
    assert len(keyframes) / 20 == pytest.approx(3.0, rel=0.08)
    assert all(b > a for a, b in pairwise(keyframes))


def test_budgets_of_files_and_of_live_sources():
    assert Budget.of(None, live=False).calls_hz == 3.0
    assert Budget.of(None, live=True).calls_hz == 10.0
    assert Budget.of("4.5", live=False).calls_hz == 4.5
    share = Budget.of("25%", live=True)
    assert share.hz(0.0, 0) == 3.0
    assert share.hz(seconds=0.5, calls=10) == pytest.approx(5.0)
    assert share.hz(seconds=5.0, calls=10) == 2.0
    assert share.hz(seconds=0.01, calls=10) == 10.0


@pytest.mark.parametrize(
    ("budget", "live", "words"),
    [
        (1, True, "2 to 10 estimator calls a second"),
        (30, False, "found 30"),
        ("many", False, "found 'many'"),
        (float("nan"), True, "found nan"),
        ([3], True, r"found \[3\]"),
        ("0%", True, "above 0%"),
        ("130%", True, "at most 100%"),
        ("25%", False, "depends on the machine"),
    ],
)
def test_a_budget_that_cannot_be_held_is_refused(budget, live, words):
    with pytest.raises(ValueError, match=words):
        Budget.of(budget, live=live)

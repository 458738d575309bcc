from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import FakeFrame, models, person

from mixsynth_stream.pipeline.keyframes import KeyframeClock
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.timeline import Timeline


def keyframe_indices(times, every=10):
    clock, found = KeyframeClock(every), []
    for index, time_s in enumerate(times):
        if clock.is_due(time_s):
            clock.tick(time_s)
            found.append(index)
    return found


@pytest.mark.parametrize(
    ("rate_hz", "expected"),
    [
        (30, [0, 10, 20, 30]),
        (60, [0, 20, 40, 60]),
        (25, [0, 9, 17, 25]),
        (30000 / 1001, [0, 10, 20, 30]),
        (2, [0, 1, 2, 3]),
    ],
)
def test_keyframes_follow_the_30_hz_grid_at_any_rate(rate_hz, expected):
    times = 5.0 + np.arange(int(rate_hz * 1.2) + 4) / rate_hz
    assert keyframe_indices(times)[:4] == expected


def test_time_stamps_rounded_to_milliseconds_make_no_difference():
    times = np.arange(100) / 30
    assert keyframe_indices(np.floor(times * 1000) / 1000) == keyframe_indices(times)


@given(st.lists(st.floats(0.001, 1.5), min_size=1, max_size=60))
def test_at_most_one_keyframe_a_period_and_no_gap_longer_than_needed(steps):
    times = np.cumsum(steps)
    found = keyframe_indices(times)
    assert found[0] == 0
    for a, b in pairwise(found):
        assert all(times[i] - times[0] < (np.floor((times[a] - times[0] + 2e-3) * 3) + 1) / 3 for i in range(a + 1, b))


def run(lag, frames=35, rate_hz=30.0, late=0, horizon_s=0.4):
    """A walker at 30 Hz; the answer for a keyframe arrives `late` frames after it."""
    timeline = Timeline(People(models(), max_people=1), lag=lag, horizon_s=horizon_s)
    motions, asked = [], None
    for index in range(frames):
        frame = FakeFrame(index, index / rate_hz)
        found = [person(x_px=100 + 3 * index)]
        if index % 10 == 0:
            asked = (frame, found)
            if late:
                motions += timeline.frame(frame)
        if asked and index == asked[0].index + late:
            motions += timeline.keyframe(*asked)
        if index % 10:
            motions += timeline.frame(frame)
    return motions + timeline.flush()


def test_lag_1_gives_each_frame_once_final_and_in_order():
    motions = run(lag=1)
    assert [m.index for m in motions] == list(range(35))
    assert all(m.final for m in motions)
    assert [m.index for m in motions if m.keyframe] == [0, 10, 20, 30]
    assert all(m.origin[0, 0] == (Origin.MEASURED if m.keyframe else Origin.FILLED) for m in motions[:31])
    assert all(m.origin[0, 0] == Origin.FORECAST for m in motions[31:])


def test_lag_0_gives_each_frame_at_once_then_final():
    motions = run(lag=0)
    order = [(m.index, m.final) for m in motions]
    first = [(0, False), *[(i, False) for i in range(1, 10)]]
    assert order[:10] == first
    assert order[10:21] == [*[(i, True) for i in range(10)], (10, False)]
    assert order[21:30] == [(i, False) for i in range(11, 20)]
    assert [i for i, final in order if final] == list(range(35))


def test_finals_of_lag_0_are_the_motions_of_lag_1():
    finals = [m for m in run(lag=0) if m.final]
    for a, b in zip(finals, run(lag=1), strict=True):
        np.testing.assert_array_equal(a.poses, b.poses)
        np.testing.assert_array_equal(a.origin, b.origin)
        np.testing.assert_array_equal(a.forecast.poses, b.forecast.poses)


def test_forecast_knows_nothing_of_later_keyframes():
    provisional = {m.index: m for m in run(lag=0) if not m.final}
    for motion in run(lag=1):
        np.testing.assert_array_equal(motion.forecast.poses, provisional[motion.index].forecast.poses)
        assert (motion.forecast.time_s > motion.time_s).all()
        assert set(np.unique(motion.forecast.origin)) <= {Origin.FORECAST, Origin.HELD}


def test_a_late_answer_changes_no_final():
    prompt, late = run(lag=1), run(lag=1, late=3)
    assert [m.index for m in late] == [m.index for m in prompt]
    for a, b in zip(prompt, late, strict=True):
        np.testing.assert_array_equal(a.poses, b.poses)
        assert a.keyframe == b.keyframe


def test_measured_is_what_the_estimator_said():
    motions = run(lag=1)
    assert motions[10].measured is not None and motions[11].measured is None
    np.testing.assert_array_equal(motions[10].measured[0].pose, person(x_px=130.0).pose)


def test_somebody_unknown_then_is_missing_in_the_forecast():
    timeline = Timeline(People(models(), max_people=2), lag=1, horizon_s=0.2)
    motions = timeline.keyframe(FakeFrame(0, 0.0), [])
    motions += timeline.keyframe(FakeFrame(1, 0.33), [person()])
    motions += timeline.flush()
    assert motions[0].poses.shape == (0, 33, 2) and motions[0].forecast.poses.shape == (0, 6, 33, 2)
    assert (motions[1].forecast.origin == Origin.HELD).all()


def test_horizon_zero_is_an_empty_forecast():
    assert run(lag=1, horizon_s=0.0)[12].forecast.poses.shape == (1, 0, 33, 2)

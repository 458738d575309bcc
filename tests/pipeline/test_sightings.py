"""Sightings: whatever the times of the frames, nobody whom the estimator saw is missing from the final output."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fakes import models, person

from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.motion import Motion, Origin
from mixsynth_stream.pipeline.stream import Stream

SILENCE_S = 1.0
BLANK = np.zeros((8, 8, 3), np.uint8)


def finals(times: list[float], present: list[bool], *, every: int, lag: int) -> tuple[list[Motion], list[float]]:
    """The final Motions of somebody who stands still, and the times of the sightings. `present`: by estimator call."""
    sightings: list[float] = []
    calls = itertools.cycle(present)

    def look(rgb: np.ndarray, time_s: float) -> list:
        if next(calls):
            sightings.append(time_s)
            return [person()]
        return []

    estimator = as_estimator(look, "BlazePose-33")
    networks = models(sample_interval=every)
    with Stream(
        ((BLANK, t) for t in times), models=networks, estimator=estimator, lag=lag, max_silence_s=SILENCE_S
    ) as stream:
        return [motion for motion in stream if motion.final], sightings


def check(motions: list[Motion], sightings: list[float]) -> None:
    for motion in motions:
        if motion.time_s in sightings:
            assert len(motion.ids) == 1, f"nobody at {motion.time_s}, where the estimator saw somebody"
            assert (motion.origin == Origin.MEASURED).all()
            np.testing.assert_allclose(motion.poses[0], person().pose, atol=1e-6)
            continue
        before = max((t for t in sightings if t < motion.time_s), default=-np.inf)
        after = min((t for t in sightings if t > motion.time_s), default=np.inf)
        if after - before <= SILENCE_S:
            assert len(motion.ids) == 1, f"nobody at {motion.time_s}, between sightings at {before} and {after}"
        if len(motion.ids):
            assert (motion.origin != Origin.MISSING).all()
            np.testing.assert_allclose(motion.poses[0], person().pose, atol=1e-6)


TICK = 1 / 30
GAPS = st.one_of(st.just(TICK), st.just(TICK), st.floats(0.004, 0.2), st.floats(0.2, 6.0))


@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(GAPS, min_size=1, max_size=60),
    present=st.lists(st.booleans(), min_size=1, max_size=8),
    every=st.sampled_from([5, 10, 15]),
    lag=st.sampled_from([0, 1]),
    start_s=st.sampled_from([0.0, 12345.678]),
)
@example(gaps=[0.5] * 6, present=[True], every=10, lag=1, start_s=0.0)
@example(gaps=[2.0] * 6, present=[True], every=10, lag=0, start_s=0.0)
@example(gaps=[1.0] * 6, present=[True], every=5, lag=1, start_s=0.0)
@example(gaps=[TICK] * 25 + [2.2] + [TICK] * 30, present=[True], every=10, lag=1, start_s=0.0)
@example(gaps=[TICK] * 40, present=[True, False], every=10, lag=1, start_s=0.0)
def test_a_sighting_is_measured_and_the_time_between_two_is_filled(gaps, present, every, lag, start_s):
    times = start_s + np.concatenate([[0.0], np.cumsum(gaps)])
    motions, sightings = finals(times.tolist(), present, every=every, lag=lag)
    assert [motion.time_s for motion in motions] == times.tolist()
    check(motions, sightings)


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("every", [5, 10, 15])
@pytest.mark.parametrize("rate_hz", [0.2, 0.5, 0.7, 1, 2, 4, 7, 15, 24, 25, 29.97, 50, 60, 120])
def test_no_frame_is_without_a_person_who_is_always_seen(rate_hz, every, lag):
    times = [k / rate_hz for k in range(max(round(rate_hz), 8))]
    motions, sightings = finals(times, [True], every=every, lag=lag)
    assert len(sightings) > 1
    assert [motion.ids.tolist() for motion in motions] == [[0]] * len(times)
    assert {int(o) for motion in motions for o in motion.origin[0]} <= {Origin.MEASURED, Origin.FILLED}
    check(motions, sightings)


def test_a_long_gap_leads_from_the_one_sighting_to_the_other():
    """A pause of 4 s is three times as long as the window; the person has moved on meanwhile."""
    walker = as_estimator(lambda rgb, t: [person(x_px=100 + 50 * t)], "BlazePose-33")
    times = [*np.arange(0.0, 1.3, 0.05), *np.arange(5.0, 6.0, 0.05)]
    with Stream(((BLANK, t) for t in times), models=models(), estimator=walker) as stream:
        motions = list(stream)
    assert len(motions) == len(times)
    shoulder_px = person(x_px=100).pose[11, 0]
    for motion in motions:
        assert abs(motion.poses[0, 11, 0] - (shoulder_px + 50 * motion.time_s)) < 6, f"at {motion.time_s} s"

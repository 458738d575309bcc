"""Streams that choose their keyframes: where people move, within the budget, and the same each time."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from support.moving import CORE, RATE_HZ, dancing, estimate, picture, standing

from mixsynth_stream import Stream
from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.keyframes import LEAST_STEPS, MOST_STEPS
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.sources.own_frames import RgbReader

FRAMES = 150
REST = standing((160.0, 150.0))


def sometimes(time_s):
    """A person who dances for a second and rests for the next."""
    share = np.clip(5 * np.sin(np.pi * time_s), 0.0, 1.0)
    return REST + share * (dancing(time_s) - REST)


def resting(_):
    return REST


@lru_cache
def pictures(motion):
    grey = [picture([motion(frame / RATE_HZ)]) for frame in range(FRAMES)]
    return [(np.repeat(plane[..., None], 3, axis=2), frame / RATE_HZ) for frame, plane in enumerate(grey)]


class Perfect:
    """An estimator that knows the motion."""

    skeleton = "BlazePose-33"

    def __init__(self, motion):
        self._motion = motion

    def __call__(self, rgb, time_s):
        return [estimate(self._motion(time_s))]


def run(motion, **options):
    with Stream(pictures(motion), estimator=Perfect(motion), **options) as stream:
        return list(stream), stream.stats


def keyframes(motions):
    return np.array([motion.time_s for motion in motions if motion.keyframe and motion.final])


def error(motions, motion, *, final):
    rows = [(m.poses[0, CORE], motion(m.time_s)) for m in motions if m.final == final and m.index > 10]
    return np.mean([np.linalg.norm(pose - truth, axis=-1).mean() for pose, truth in rows])


def test_a_still_person_gets_few_looks_and_a_lively_one_many():
    still, lively = (run(motion, every="auto", budget=6)[1].estimator_calls for motion in (resting, dancing))
    assert still <= FRAMES / MOST_STEPS + 2
    assert lively >= 2 * still
    assert lively <= 6 * (FRAMES / RATE_HZ + 2)


def test_keyframes_lie_where_people_move():
    times = keyframes(run(sometimes, every="auto", budget=4)[0])
    gaps = np.diff(times) * 30
    assert gaps[:-1].min() >= LEAST_STEPS - 0.1  # the last frame of a file is a keyframe
    assert gaps.max() <= MOST_STEPS + 0.1
    assert np.mean(times[1:] % 2 < 1.1) > 0.6


def test_it_beats_a_fixed_spacing_with_as_many_calls():
    fixed, fixed_stats = run(sometimes, every=10, glance=True, lag=0)
    auto, auto_stats = run(sometimes, every="auto", budget=3, lag=0)
    assert auto_stats.estimator_calls <= 3 * (FRAMES / RATE_HZ + 2)
    # Calls of two seconds may be saved up, so errors are compared at the same price of a call.
    calls = auto_stats.estimator_calls / fixed_stats.estimator_calls
    for final in (False, True):
        assert error(auto, sometimes, final=final) * calls < 0.9 * error(fixed, sometimes, final=final)


def test_two_runs_and_both_lags_give_the_same():
    first, again = run(sometimes, every="auto")[0], run(sometimes, every="auto")[0]
    early = [motion for motion in run(sometimes, every="auto", lag=0)[0] if motion.final]
    for one, two, three in zip(first, again, early, strict=True):
        assert one.keyframe == two.keyframe == three.keyframe
        np.testing.assert_array_equal(one.poses, two.poses)
        np.testing.assert_array_equal(one.world, two.world)
        np.testing.assert_array_equal(one.poses, three.poses)


def test_every_frame_is_measured_or_tracked():
    motions, _ = run(sometimes, every="auto")
    origins = [(motion.origin[0], Origin.MEASURED if motion.keyframe else Origin.TRACKED) for motion in motions]
    assert np.mean([origin == expected for origin, expected in origins]) > 0.9
    assert not any(np.isin(origin, (Origin.MISSING, Origin.HELD)).any() for origin, _ in origins)


def test_pushed_frames_are_chosen_too():
    with Stream(estimator=Perfect(sometimes), every="auto", budget=3) as stream:
        motions = [motion for rgb, time_s in pictures(sometimes) for motion in stream.push(rgb, time_s, wait=True)]
        motions += stream.close()
        assert stream.every == "auto"
        assert stream.budget == "3 calls/s"
    assert sorted(motion.index for motion in motions if motion.final) == list(range(FRAMES))
    assert stream.stats.estimator_calls <= 3 * (FRAMES / RATE_HZ + 2)


class Live(RgbReader):
    """A camera whose pictures come as fast as they are read. It counts them."""

    def __init__(self, items):
        super().__init__(items)
        self.info = replace(self.info, live=True)
        self.count = threading.Semaphore(0)

    def __next__(self):
        self.count.release()
        return super().__next__()

    def close(self):
        self.count.release(FRAMES)
        super().close()


def test_live_keyframes_wait_until_the_estimator_is_free():
    busy, calls = [], []
    camera = Live(pictures(dancing))

    def slow(rgb, time_s):
        """Answers when four more pictures have come, or none can come any more."""
        busy.append(time_s)
        assert len(busy) == 1
        for _ in range(4):
            camera.count.acquire(timeout=0.2)
        busy.remove(time_s)
        calls.append(time_s)
        return [estimate(dancing(time_s))]

    with Stream(camera, estimator=as_estimator(slow, "BlazePose-33"), every="auto", budget=8) as stream:
        finals = [motion.index for motion in stream if motion.final]
    assert finals == list(range(FRAMES))
    assert "keyframes_skipped_estimator_busy" not in stream.stats.counters
    assert len(calls) > 3
    assert np.diff(calls)[:-1].min() >= LEAST_STEPS / 30 - 2e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": "auto", "glance": False}, "needs the glance"),
        ({"every": 10, "budget": 3}, "budget is for every='auto'"),
        ({"every": "often"}, "every must be a whole number or 'auto'"),
        ({"every": 2.5}, "found 2.5"),
        ({"every": "auto", "budget": 50}, "2 to 10"),
        ({"every": "auto", "budget": "20%"}, "depends on the machine"),
    ],
)
def test_what_does_not_go_together_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Stream(pictures(resting), estimator=Perfect(resting), **options)


def test_a_number_without_weights_is_a_model_error_as_before():
    with pytest.raises(ModelError):
        Stream(pictures(resting), estimator=Perfect(resting), every=7)

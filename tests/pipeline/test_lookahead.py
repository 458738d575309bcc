"""`Stream.lookahead`: the next poses with sigma, in any thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from support.fakes import models, with_sigma

from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.sources.synthetic import SyntheticEstimator, SyntheticScene
from mixsynth_stream.pipeline.stream import Stream

SCENE = SyntheticScene(seconds=3.0, size=(160, 120))
RGB = np.zeros((120, 160, 3), np.uint8)
NETWORKS = (with_sigma("image"), with_sigma("world"))


def pushed(seconds: float) -> Stream:
    stream = Stream(models=NETWORKS, every=10, estimator=SyntheticEstimator(SCENE), glance=False)
    for index in range(round(30 * seconds)):
        stream.push(RGB, index / 30, wait=True)
    return stream


def test_shapes_times_and_sigma() -> None:
    with pushed(2.0) as stream:
        ahead = stream.lookahead(12, 0.1)
        newest_s = 59 / 30
        assert ahead.time_s == pytest.approx(newest_s + 0.1 * np.arange(1, 13))
        assert ahead.ids.tolist() == [0]
        shapes = {name: values.shape for name, values in ahead.arrays().items()}
        joints = (1, 12, 33)
        assert shapes == {
            "poses": (*joints, 2),
            "world": (*joints, 3),
            "scores": joints,
            "origin": joints,
            "sigma": joints,
            "world_sigma": joints,
        }
        assert set(ahead.origin[0, :6].ravel()) == {Origin.FORECAST}
        assert set(ahead.origin[0, 9:].ravel()) == {Origin.HELD}, "past the horizon of 28 steps after frame 50"
        assert (np.diff(ahead.sigma[0, 4:, 11]) > 0).all()
        for m, time_s in enumerate(ahead.time_s):
            np.testing.assert_array_equal(ahead.poses[:, m], stream.at(float(time_s)).poses)


def test_it_is_what_the_motion_of_now_forecasts() -> None:
    with Stream(models=NETWORKS, every=10, estimator=SyntheticEstimator(SCENE), glance=False) as stream:
        motions = [motion for index in range(45) for motion in stream.push(RGB, index / 30, wait=True)]
        newest = [motion for motion in motions if not motion.final][-1]
        ahead = stream.lookahead(12)
        assert newest.forecast.time_s == pytest.approx(ahead.time_s)
        np.testing.assert_allclose(newest.forecast.poses, ahead.poses, atol=1e-6)
        np.testing.assert_allclose(newest.forecast.sigma, ahead.sigma, atol=1e-6)


def test_it_begins_where_it_is_told_to_and_before_anybody_was_seen() -> None:
    with Stream(models=models()) as stream:
        ahead = stream.lookahead(3, 0.5)
        assert ahead.poses.shape == (0, 3, 33, 2)
        assert ahead.time_s.tolist() == [0.5, 1.0, 1.5]
        assert stream.lookahead(2, 0.5, start_s=10.0).time_s.tolist() == [10.5, 11.0]


@pytest.mark.parametrize(("count", "dt_s"), [(0, 0.1), (3, 0.0), (3, float("nan")), (3, float("inf"))])
def test_what_has_no_meaning_is_refused(count: int, dt_s: float) -> None:
    with Stream(models=models()) as stream, pytest.raises(ValueError, match="lookahead takes 1 time or more"):
        stream.lookahead(count, dt_s)


def test_other_threads_may_ask_while_frames_come() -> None:
    errors: list[Exception] = []
    is_over = threading.Event()
    with Stream(models=NETWORKS, every=10, estimator=SyntheticEstimator(SCENE), glance=False) as stream:

        def ask() -> None:
            while not is_over.is_set():
                try:
                    ahead = stream.lookahead(5, 0.04)
                    assert ahead.poses.shape == (len(ahead.ids), 5, 33, 2)
                    assert np.isfinite(ahead.poses).all()
                except Exception as error:
                    errors.append(error)
                    return

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for index in range(90):
            stream.push(RGB, index / 30, wait=True)
        is_over.set()
        for thread in threads:
            thread.join()
    assert errors == []

"""Timeline: the order of Motions with either lag, what is final, and what a forecast knows."""

from __future__ import annotations

import numpy as np
import pytest
from support.fakes import FakeFrame, models, person, with_sigma

from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.timeline import Timeline


def run(lag, frames=35, rate_hz=30.0, late=0, horizon_s=0.4):
    """A walker at 30 Hz. The estimates of a keyframe arrive `late` frames after it."""
    timeline = Timeline(People(models(), max_people=1), lag=lag, horizon_s=horizon_s)
    motions, keyframe = [], None
    for index in range(frames):
        frame = FakeFrame(index, index / rate_hz)
        if index % 10 == 0:
            keyframe = (frame, [person(x_px=100 + 3 * index)])
            if late:
                motions += timeline.frame(frame)
        if keyframe and index == keyframe[0].index + late:
            motions += timeline.keyframe(*keyframe)
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


def test_late_estimates_change_no_final():
    prompt, late = run(lag=1), run(lag=1, late=3)
    assert [m.index for m in late] == [m.index for m in prompt]
    for a, b in zip(prompt, late, strict=True):
        np.testing.assert_array_equal(a.poses, b.poses)
        assert a.keyframe == b.keyframe


def test_measured_holds_the_estimates():
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


@pytest.mark.parametrize("lag", [0, 1])
def test_motion_and_forecast_carry_pixels_and_metres(lag):
    pair = with_sigma("image"), with_sigma("world")
    timeline = Timeline(People(pair, max_people=2), lag=lag, horizon_s=0.2)
    motions = []
    for index in range(31):
        frame = FakeFrame(index, index / 30)
        if index % 10:
            motions += timeline.frame(frame)
        else:
            motions += timeline.keyframe(frame, [person(x_px=200.0 + index), person(x_px=500.0 - index)])
    motions += timeline.flush()
    for motion in motions:
        for sigma in (motion.sigma, motion.world_sigma):
            assert sigma is not None and sigma.shape == (len(motion.ids), 33)
            measured = np.isin(motion.origin, (Origin.MEASURED, Origin.MISSING))
            assert (np.isnan(sigma) == measured).all()
    last = next(motion for motion in motions if motion.index == 25 and motion.final)
    assert last.forecast.sigma is not None and last.forecast.world_sigma is not None
    assert last.forecast.sigma.shape == last.forecast.world_sigma.shape == (2, 6, 33)
    # 100 pixels are half a metre of these people.
    assert np.nanmedian(last.forecast.sigma) > 20 * np.nanmedian(last.forecast.world_sigma)


def resized(frame: FakeFrame, width: int, height: int) -> FakeFrame:
    return FakeFrame(frame.index, frame.time_s, width, height)


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("size", [(1280, 960), (320, 240), (1280, 720), (480, 640)])
def test_a_change_of_the_pictures_size_moves_nobody(lag, size):
    """The camera comes back at frame 25 with another size; whoever stands there stands in each frame's own pixels."""
    scale = min(size) / 480  # by the shorter side, also where the camera is turned or widens its picture
    offset = [(size[0] - 640 * scale) / 2, (size[1] - 480 * scale) / 2]
    timeline = Timeline(People((with_sigma(), with_sigma("world")), max_people=1), lag=lag, horizon_s=0.4)
    motions = []
    for index in range(45):
        frame, pose = FakeFrame(index, index / 30), person().pose
        if index >= 25:
            frame, pose = resized(frame, *size), pose * scale + offset
        motions += timeline.keyframe(frame, [person(pose)]) if index % 10 == 0 else timeline.frame(frame)
    motions += timeline.flush()
    sigma = {motion.index: motion.sigma[0] for motion in motions if motion.final}
    for motion in motions:
        assert motion.ids.tolist() == [0]
        truth = person().pose if motion.index < 25 else person().pose * scale + offset
        np.testing.assert_allclose(motion.poses[0], truth, atol=1e-6)
        np.testing.assert_allclose(motion.forecast.poses[0], np.broadcast_to(truth, (12, 33, 2)), atol=1e-6)
        if motion.measured:
            np.testing.assert_allclose(motion.measured[0].pose, truth)
    np.testing.assert_allclose(sigma[35], sigma[15] * scale)


def shown_and_final(asks: bool) -> list[np.ndarray]:
    """The poses of all Motions around a late keyframe; an estimator that `asks` whom to expect writes into that."""
    timeline = Timeline(People(models(), max_people=1), lag=0, horizon_s=0.2)
    motions = timeline.keyframe(FakeFrame(0, 0.0), [person()])
    frames = [FakeFrame(index, index / 30) for index in range(1, 15)]
    for frame in frames:
        if asks:
            expected = timeline.expected(frame)
            expected.poses[:], expected.world[:], expected.origin[:] = 0.0, 0.0, Origin.HELD
        motions += timeline.frame(frame)
        if frame.index == 12:  # the answer for frame 10, which moves what is shown
            motions += timeline.keyframe(frames[9], [person(x_px=330.0)])
    return [array for motion in motions + timeline.flush() for array in (motion.poses, motion.world, motion.origin)]


def test_who_is_told_whom_to_expect_changes_nothing():
    for a, b in zip(shown_and_final(asks=True), shown_and_final(asks=False), strict=True):
        np.testing.assert_array_equal(a, b)

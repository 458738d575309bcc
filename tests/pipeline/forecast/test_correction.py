"""Corrections: the pose shown live goes over to a new one where a keyframe's answer would make it jump."""

from __future__ import annotations

import numpy as np
import pytest
from support.fakes import models, person

from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.forecast.correction import SPEED_OVER_S, correction
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.pipeline.people import ScenePoses
from mixsynth_stream.pipeline.stream import Stream

PICTURE = np.zeros((48, 64, 3), np.uint8)
RATE_HZ, ANSWER_S = 30.0, 0.1
FRAMES = 90


def x_px(time_s: float) -> float:
    """Still, and from one frame to the next somewhere else: no forecast knows that."""
    return 200.0 if time_s < 1.45 else 260.0


def stream(*, lag: int | None = None) -> Stream:
    estimator = as_estimator(lambda rgb, time_s: [person(x_px=x_px(time_s))], "BlazePose-33")
    return Stream(models=models(), estimator=estimator, lag=lag, cuts=False, glance=False)


def motions_of(lag: int | None = None) -> list[Motion]:
    with stream(lag=lag) as pushed:
        motions = [m for k in range(FRAMES) for m in pushed.push(PICTURE, k / RATE_HZ, answer_s=ANSWER_S)]
        return motions + pushed.close()


def shown(motions: list[Motion]) -> np.ndarray:  # [F] pixels
    """Where the nose was shown when each frame came."""
    first: dict[int, Motion] = {}
    for motion in motions:
        if len(motion.ids):
            first.setdefault(motion.index, motion)
    return np.array([first[index].poses[0, 0, 0] for index in sorted(first)])


def test_a_jump_is_spread_over_some_frames_and_over_within_a_tenth_of_a_second():
    """The keyframe at 1.667 s is the first that shows the jump, and its answer comes at frame 53."""
    x = shown(motions_of())
    before, after = x[-FRAMES + 52], x[-FRAMES + 56]
    steps = np.abs(np.diff(x[-FRAMES + 52 : -FRAMES + 57]))
    assert after - before > 30
    assert steps.max() < 0.6 * (after - before)
    assert np.count_nonzero(steps > 5) >= 2


def test_finals_know_nothing_of_it():
    early, late = ({m.index: m for m in motions if m.final} for motions in (motions_of(lag=0), motions_of(lag=1)))
    assert sorted(early) == sorted(late) == list(range(FRAMES))
    for index, motion in early.items():
        np.testing.assert_array_equal(motion.poses, late[index].poses)
        np.testing.assert_array_equal(motion.world, late[index].world)
        np.testing.assert_array_equal(motion.forecast.poses, late[index].forecast.poses)


def test_a_keyframe_keeps_what_was_measured():
    for motion in motions_of():
        if motion.keyframe:
            np.testing.assert_allclose(motion.poses[0], person(x_px=x_px(motion.time_s)).pose, atol=1e-3)


def test_a_display_sees_what_the_motions_have():
    with stream() as pushed:
        for k in range(FRAMES):
            time_s = k / RATE_HZ
            motion = pushed.push(PICTURE, time_s, answer_s=ANSWER_S)[-1]
            if len(motion.ids) and not motion.keyframe:
                np.testing.assert_array_equal(pushed.at(time_s).poses, motion.poses)


def still(x_px: float, times: int, *, ids: tuple[int, ...] = (0,), speed: float = 0.0) -> ScenePoses:
    """Somebody at `x_px` at the last of some times, who has come there with a speed in pixels a second."""
    ago_s = SPEED_OVER_S * np.arange(times - 1, -1, -1)
    poses = np.array([[person(x_px=x_px - speed * s).pose for s in ago_s] for _ in ids])
    rest = np.zeros(poses.shape[:3])
    return ScenePoses(ids=np.array(ids), poses=poses, world=np.zeros((*rest.shape, 3)), scores=rest, origin=rest)


def nose_at(seconds: float, *, jump: float, speed: float) -> float:
    """How far the nose is shown from where it is known, so long after the answer."""
    change = correction(2.0, still(100.0, 1), still(100.0 + jump, 2, speed=speed))
    known = still(100.0 + jump, 1)
    shown_now = known if change is None else change.added_to(known, np.array([2.0 + seconds]))
    return float(known.poses[0, 0, 0, 0] - shown_now.poses[0, 0, 0, 0])


@pytest.mark.parametrize(("seconds", "left"), [(0.0, 0.0), (1e-6, 60.0), (0.02, 45.0), (0.04, 30.0), (0.08, 0.0)])
def test_it_never_takes_longer_than_80_ms(seconds, left):
    """At the time of the last frame shown nothing changes any more: that frame is out."""
    assert nose_at(seconds, jump=60.0, speed=0.0) == pytest.approx(left, abs=0.01)


def test_a_small_jump_goes_with_three_times_the_persons_own_speed():
    scale_px = 60.0  # an upper bound of what the least speed adds: 0.3 body scales a second
    assert nose_at(0.02, jump=30.0, speed=300.0) == pytest.approx(30 - 0.02 * 900, abs=0.02 * 0.3 * scale_px + 0.5)
    assert nose_at(1 / 30, jump=25.0, speed=300.0) == 0.0  # less than a frame's natural motion: no blend


def test_nobody_else_is_moved_and_nobody_new_is():
    change = correction(2.0, still(100.0, 1, ids=(3,)), still(160.0, 2, ids=(3, 4)))
    assert change is not None and set(change.offsets) == {3}
    poses = still(160.0, 1, ids=(4,))
    assert change.added_to(poses, np.array([2.01])) is poses
    assert correction(2.0, still(100.0, 1, ids=(3,)), still(160.0, 2, ids=(4,))) is None

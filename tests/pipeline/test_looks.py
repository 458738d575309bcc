"""Estimators that fail, hang or are slow: the stream goes on, ends in time, and keeps nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from support.fakes import models, person

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.estimators.supervised import MOST_FAILURES
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.looks import HangsError, Looks
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.sources.own_frames import RgbReader
from mixsynth_stream.pipeline.stream import Stream

SIZE = (64, 48)
PICTURE = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


class Camera(RgbReader):
    """Pictures at 30 Hz by their times, as fast as they are taken, or as `pause` says."""

    def __init__(self, count: int, pause=lambda index: None):
        super().__init__((PICTURE, k / 30) for k in range(count))
        self.info = replace(self.info, live=True)
        self._pause = pause
        self.pictures: list[Frame] = []

    def __next__(self) -> Frame:
        frame = super().__next__()
        self._pause(frame.index)
        self.pictures.append(frame)
        return frame


def failing(calls, who=lambda time_s: [person(x_px=30, y_px=30, size_px=20)]):
    """An estimator that fails in the calls of these numbers."""
    number = iter(range(10**6))

    def estimator(rgb: np.ndarray, time_s: float) -> list[Person]:
        if next(number) in calls:
            raise RuntimeError("out of luck")
        return who(time_s)

    return as_estimator(estimator, "BlazePose-33")


def frame(index: int = 0) -> Frame:
    return Frame(index, index / 30, *SIZE, lambda: PICTURE)


@pytest.mark.parametrize("lag", [0, 1])
def test_a_look_that_fails_is_left_out(lag):
    with Stream(((PICTURE, k / 30) for k in range(60)), models=models(), estimator=failing({2}), lag=lag) as stream:
        finals = [motion for motion in stream if motion.final]
    assert [motion.index for motion in finals] == list(range(60))
    assert [motion.index for motion in finals if motion.keyframe] == [0, 10, 30, 40, 50, 59]
    assert all(len(motion.ids) == 1 for motion in finals)
    assert stream.stats.counters == {"estimator_failed": 1}


def test_an_estimator_that_never_works_is_an_error_of_the_first_look():
    with (
        Stream([PICTURE] * 30, models=models(), estimator=failing(range(99))) as stream,
        pytest.raises(RuntimeError, match="luck"),
    ):
        list(stream)
    assert stream.stats.estimator_calls == 1


def test_an_estimator_that_fails_for_long_ends_the_stream_after_all_its_motions():
    indices = []
    with (
        Stream([PICTURE] * 200, models=models(), estimator=failing(range(3, 99))) as stream,
        pytest.raises(
            ModelError, match=f"failed {MOST_FAILURES} times in a row, the last time at 4.000 s.*luck"
        ) as raised,
    ):
        indices.extend(motion.index for motion in stream)
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert indices == list(range(10 * (2 + MOST_FAILURES) + 1))


def test_a_camera_whose_estimator_never_works_gives_each_frame_that_it_showed_a_final_one():
    motions = []

    def failing_slowly(rgb: np.ndarray, time_s: float) -> list[Person]:
        raise TimeoutError("the estimator's own server is silent")

    camera = Camera(200, pause=lambda index: time.sleep(0.002))
    estimator = as_estimator(failing_slowly, "BlazePose-33")
    with (
        Stream(camera, models=models(), estimator=estimator, lag=0) as stream,
        pytest.raises(ModelError, match=f"failed {MOST_FAILURES} times in a row"),
    ):
        motions.extend((motion.index, motion.final) for motion in stream)
    assert {index for index, final in motions if final} == {index for index, final in motions if not final}
    assert stream.stats.counters["estimator_failed"] == MOST_FAILURES and "estimator_hung" not in stream.stats.counters


def test_a_pushed_frame_that_fails_loses_nothing():
    with Stream(models=models(), estimator=failing({0})) as stream:
        with pytest.raises(RuntimeError, match="luck"):
            stream.push(PICTURE, 0.0, wait=True)
        indices = {motion.index for k in range(1, 30) for motion in stream.push(PICTURE, k / 30, wait=True)}
    assert indices == set(range(30))


def test_the_first_motion_of_a_live_frame_tells_how_long_it_took():
    with Stream("synthetic:live=1&seconds=1", models=models()) as stream:
        motions = list(stream)
    first = [motion for motion in motions if motion.latency is not None]
    assert [motion.index for motion in first] == sorted({motion.index for motion in motions})
    assert all(not motion.final for motion in first)
    for motion in first:
        parts = (motion.latency.held_s, motion.latency.waited_s, motion.latency.made_s)
        assert min(parts) >= 0 and motion.latency.total_s == sum(parts) < 5
        assert motion.latency.keyframe_age_s is None or 0 <= motion.latency.keyframe_age_s < 1
    assert len(stream.stats.ledger) == len(first)
    totals = sorted(motion.latency.total_s for motion in first)
    assert stream.stats.ledger.percentiles()["total_s"][0] == pytest.approx(np.median(totals))
    assert str(stream.stats.ledger).startswith("latency ")


def test_a_file_has_no_latency():
    with Stream([PICTURE] * 30, models=models(), estimator=failing(())) as stream:
        assert all(motion.latency is None for motion in stream)
    assert str(stream.stats.ledger) == "" and stream.stats.ledger.percentiles() == {}


def test_push_does_not_wait_for_the_estimator():
    may_answer, inside = threading.Event(), threading.Event()

    def slow(rgb: np.ndarray, time_s: float) -> list[Person]:
        inside.set()
        assert may_answer.wait(10)
        return [person(x_px=30 + 10 * time_s, y_px=30, size_px=20)]

    with Stream(models=models(), estimator=as_estimator(slow, "BlazePose-33")) as stream:
        picture = PICTURE.copy()
        motions = stream.push(picture, 0.0)
        assert inside.wait(5)
        picture[:] = 255  # the caller's picture may change while the estimator looks at it
        motions += [motion for k in range(1, 15) for motion in stream.push(PICTURE, k / 30)]
        assert [(motion.index, motion.final) for motion in motions] == [(k, False) for k in range(15)]
        assert all(len(motion.ids) == 0 for motion in motions)
        may_answer.set()
        time.sleep(0.2)
        motions = stream.push(PICTURE, 0.5)
        assert [(m.index, m.final) for m in motions] == [(0, False), (15, False)]
        assert stream.stats.counters == {"keyframes_skipped_estimator_busy": 1}


def test_the_pose_of_any_time_is_there_between_frames():
    moving = as_estimator(lambda rgb, time_s: [person(x_px=200 + 60 * time_s)], "BlazePose-33")
    with Stream(models=models(), estimator=moving) as stream:
        assert len(stream.at(0.0).ids) == 0
        for k in range(31):
            stream.push(PICTURE, k / 30, wait=True)
        for time_s in (0.8, 1.0, 1.004, 1.1):
            now = stream.at(time_s)
            assert now.ids.tolist() == [0]
            assert now.poses[0, 23:25, 0].mean() == pytest.approx(200 + 60 * time_s, abs=1.5)


@pytest.mark.parametrize(
    ("source", "every"), [("synthetic:live=1&seconds=0.2", "auto"), ("synthetic:seconds=0.2", 10), (None, "auto")]
)
def test_live_sources_choose_their_keyframes_by_default(source, every):
    with Stream(source, estimator=None if source else failing(())) as stream:
        assert stream.every == every


def test_a_camera_goes_on_while_its_estimator_hangs_and_keeps_a_bounded_number_of_pictures():
    is_free, inside = threading.Event(), threading.Event()

    def hanging(rgb: np.ndarray, time_s: float) -> list[Person]:
        if time_s > 0.5:
            inside.set()
            is_free.wait(20)
        return [person(x_px=30, y_px=30, size_px=20)]

    camera = Camera(400, pause=lambda index: inside.wait(10) if index == 60 else time.sleep(0.001 * (index < 60)))
    held = []
    start_s = time.perf_counter()
    estimator = as_estimator(hanging, "BlazePose-33")
    finals = []
    stream = Stream(camera, models=models(), estimator=estimator, lag=0, glance=False, pictures=False)
    for motion in stream:
        if motion.final:
            finals.append(motion.index)
        held.append(sum(_has_picture(one) for one in camera.pictures))
        if motion.index == 150:
            break
    assert finals == list(range(len(finals))) and len(finals) > 50
    assert max(held) < 40
    rest = [motion.index for motion in stream.close() if motion.final]
    assert time.perf_counter() - start_s < 15
    assert finals + rest == list(range(151))
    is_free.set()


def _has_picture(one: Frame) -> bool:
    try:
        return one.rgb is not None
    except ValueError:
        return False


def test_a_look_that_takes_too_long_is_given_up_and_the_next_has_a_new_thread():
    is_free = threading.Event()
    renewed = []
    with Looks(limit_s=0.1, renew=lambda: renewed.append(1) or True) as looks:
        looks.begin(frame(0), lambda: is_free.wait(10) and [])
        assert looks.is_busy
        time.sleep(0.15)
        (given_up,) = looks.ended()
        assert isinstance(given_up.error, HangsError) and renewed == [1]
        looks.begin(frame(1), list)
        (second,) = looks.last()
        assert second.frame.index == 1 and second.people == []
        is_free.set()
        time.sleep(0.05)
        assert given_up.people is None and looks.ended() == []


def test_an_estimator_of_the_user_that_hangs_is_not_called_again_before_it_answers():
    is_free = threading.Event()
    with Looks(limit_s=0.1) as looks:
        looks.begin(frame(0), lambda: is_free.wait(10) and [])
        looks.begin(frame(1), list)
        time.sleep(0.15)
        assert [look.frame.index for look in looks.ended()] == [0]
        assert looks.is_busy and looks.frames == []
        assert looks.last() == []
        is_free.set()
        end_s = time.perf_counter() + 5
        while looks.is_busy and time.perf_counter() < end_s:
            time.sleep(0.01)
        looks.begin(frame(2), list)
        assert [look.frame.index for look in looks.last()] == [2]


def test_closing_does_not_wait_long_for_an_estimator_that_hangs():
    is_free, inside = threading.Event(), threading.Event()
    looks = Looks()
    looks.begin(frame(0), lambda: inside.set() or (is_free.wait(10) and []))
    assert inside.wait(5)
    start_s = time.perf_counter()
    assert not looks.close(patience_s=0.2)
    assert not looks.close()
    assert time.perf_counter() - start_s < 2
    is_free.set()

"""Estimators that answer later: in a thread, a process or behind a socket; late, twice, or never."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
import time
from concurrent.futures import Future, InvalidStateError, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from support.fakes import models
from support.remote import look, pose_at, serve

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.estimators.later import ANSWER_LIMIT_S, awaited
from mixsynth_stream.pipeline.looks import LOOK_LIMIT_S
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.pipeline.stream import Stream

PICTURE = np.zeros((64, 96, 3), np.uint8)


def frames(count: int) -> list[tuple[np.ndarray, float]]:
    return [(PICTURE, k / 30) for k in range(count)]


def finals_of(estimator, count: int = 41) -> tuple[list[Motion], Stream]:
    """Every frame of a file, final, and the stream."""
    with Stream(iter(frames(count)), models=models(), estimator=as_estimator(estimator, "COCO-17")) as stream:
        return [motion for motion in stream if motion.final], stream


def assert_same(motions: list[Motion], others: list[Motion]) -> None:
    assert [motion.index for motion in motions] == [motion.index for motion in others]
    for motion, other in zip(motions, others, strict=True):
        np.testing.assert_array_equal(motion.poses, other.poses)
        assert len(motion.ids) == 1


class Asked:
    """An estimator whose answers a test gives. `calls` are the times of the pictures and their futures."""

    skeleton = "COCO-17"

    def __init__(self, patience_s: float = 5.0) -> None:
        self.patience_s = patience_s
        self.calls: list[tuple[float, Future]] = []
        self.is_asked = threading.Condition()
        self._is_over = False

    def __call__(self, rgb: np.ndarray, time_s: float) -> Future:
        with self.is_asked:
            answer: Future = Future()
            self.calls.append((time_s, answer))
            if self._is_over:
                answer.set_result([])
            self.is_asked.notify_all()
        return answer

    def end(self) -> None:
        """See nobody from now on, and in the pictures that wait, so that a stream can close at once."""
        with self.is_asked:
            self._is_over = True
            for _, answer in self.calls:
                if not answer.done():
                    answer.set_result([])

    def call(self, number: int) -> tuple[float, Future]:
        with self.is_asked:
            assert self.is_asked.wait_for(lambda: len(self.calls) > number, 10)
        return self.calls[number]


class Camera:
    """Pushes frames at 30 Hz by their times, until a test has what it waits for."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._count = 0

    def until(self, is_enough) -> list[Motion]:
        """The Motions, as soon as they are enough; `is_enough` gets those so far."""
        motions: list[Motion] = []
        end_s = time.perf_counter() + 10
        while not is_enough(motions):
            assert time.perf_counter() < end_s, "what the test waits for does not come"
            motions += self._stream.push(PICTURE, self._count / 30)
            self._count += 1
            time.sleep(0.002)
        return motions


def test_answers_in_a_thread_or_a_process_give_what_a_function_gives():
    plain, _ = finals_of(look)
    with ThreadPoolExecutor(1) as pool:
        assert_same(finals_of(lambda rgb, time_s: pool.submit(look, rgb, time_s))[0], plain)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert_same(finals_of(lambda rgb, time_s: pool.submit(look, rgb, time_s))[0], plain)


def test_a_server_that_answers_each_request_twice_gives_what_a_function_gives():
    ours, theirs = socket.socketpair()
    server = threading.Thread(target=serve, args=(theirs,))
    requests: list[Future] = []
    second_answers = 0

    def receive() -> None:
        nonlocal second_answers
        for line in lines:
            answer = json.loads(line)
            try:
                requests[answer["number"]].set_result([(np.array(answer["pose"]), None, np.ones(17))])
            except InvalidStateError:
                second_answers += 1

    def ask(rgb: np.ndarray, time_s: float) -> Future:
        requests.append(Future())
        lines.write(json.dumps({"number": len(requests) - 1, "time_s": time_s}) + "\n")
        lines.flush()
        return requests[-1]

    with ours, ours.makefile("rw") as lines:
        receiver = threading.Thread(target=receive)
        for thread in (server, receiver):
            thread.start()
        motions, stream = finals_of(ask)
        ours.shutdown(socket.SHUT_WR)
        for thread in (server, receiver):
            thread.join(10)
    assert_same(motions, finals_of(look)[0])
    assert second_answers == len(requests) == stream.stats.keyframes and stream.stats.counters == {}


def test_a_late_answer_counts_for_the_time_of_its_own_picture():
    estimator = Asked()
    with Stream(models=models(), estimator=estimator, glance=False, smooth=False) as stream:
        camera = Camera(stream)
        motions = camera.until(lambda motions: len(motions) == 13)
        assert all(not motion.final and not len(motion.ids) for motion in motions)
        first_s, answer = estimator.call(0)
        answer.set_result([(pose_at(first_s), None, np.ones(17))])
        motions = camera.until(lambda motions: any(motion.keyframe for motion in motions))
        keyframe = next(motion for motion in motions if motion.keyframe)
        assert (keyframe.index, first_s) == (0, 0.0)
        np.testing.assert_allclose(keyframe.poses[0], pose_at(0.0))
        # The next look is at a picture after that answer. Its own comes after another time.
        camera.until(lambda _: len(estimator.calls) > 1)
        second_s, answer = estimator.call(1)
        assert second_s > 12 / 30
        camera.until(lambda motions: len(motions) > 4)
        answer.set_result([(pose_at(second_s), None, np.ones(17))])
        motions = camera.until(lambda motions: any(motion.keyframe and motion.index for motion in motions))
        keyframe = next(motion for motion in motions if motion.keyframe and motion.index)
        assert keyframe.time_s == pytest.approx(second_s) and motions[-1].time_s > second_s
        np.testing.assert_allclose(keyframe.poses[0], pose_at(second_s))
        # The pose of now goes on from both.
        assert (motions[-1].poses[0, :, 0] > pose_at(second_s)[:, 0] + 2).all()
        estimator.end()


def test_an_answer_that_never_comes_costs_one_look_and_what_comes_after_all_is_left_alone():
    estimator = Asked(patience_s=0.05)
    lost: list[Future] = []

    def answer_most(rgb: np.ndarray, time_s: float) -> Future:
        answer = estimator(rgb, time_s)
        if len(estimator.calls) == 3:
            lost.append(answer)
        else:
            answer.set_result(look(rgb, time_s))
        if len(estimator.calls) == 5:
            lost[0].set_result([(pose_at(99.0), None, np.ones(17))])
        return answer

    answer_most.patience_s = estimator.patience_s
    motions, stream = finals_of(answer_most, 61)
    assert stream.stats.counters == {"estimator_failed": 1}
    assert [motion.index for motion in motions if motion.keyframe] == [0, 10, 30, 40, 50, 60]
    for motion in motions:
        np.testing.assert_allclose(motion.poses[0], pose_at(motion.time_s), atol=2.0)


def test_a_camera_goes_on_where_no_answer_comes_at_all():
    estimator = Asked(patience_s=0.02)
    with (
        Stream(models=models(), estimator=estimator, glance=False) as stream,
        pytest.raises(TimeoutError, match="0.02"),
    ):
        Camera(stream).until(lambda motions: False)
    assert 1 <= len(estimator.calls) <= 2


def test_an_answer_is_given_up_before_its_thread_counts_as_hanging():
    assert ANSWER_LIMIT_S < LOOK_LIMIT_S


def test_an_error_of_the_future_is_one_of_the_estimator():
    def failing(rgb: np.ndarray, time_s: float) -> Future:
        answer: Future = Future()
        answer.set_exception(RuntimeError("the server is out of memory"))
        return answer

    with pytest.raises(RuntimeError, match="out of memory"):
        finals_of(failing)


def test_one_future_for_two_pictures_is_refused():
    answer: Future = Future()
    answer.set_result(look(PICTURE, 0.0))
    with pytest.raises(ModelError, match="same future for another frame, at 0.333 s"):
        finals_of(lambda rgb, time_s: answer)


def test_a_coroutine_is_refused_with_what_to_do():
    async def later() -> list:
        return []

    with pytest.raises(ModelError, match=r"found coroutine: .*run_coroutine_threadsafe"):
        finals_of(lambda rgb, time_s: later())
    assert awaited([]) == []


@pytest.mark.parametrize("patience_s", [0, -1, True, "soon", float("nan"), float("inf")])
def test_patience_must_be_seconds(patience_s):
    def estimator(rgb: np.ndarray, time_s: float) -> list:
        return []

    estimator.patience_s = patience_s
    with pytest.raises(ModelError, match="patience_s must be finite seconds above 0"):
        as_estimator(estimator, "COCO-17")

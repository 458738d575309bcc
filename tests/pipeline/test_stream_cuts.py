"""Scene cuts in a Stream: no pose is blended across one, and ids end there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pytest
from support.fakes import models, person
from support.scenes import brighter, scene, shots

from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.motion import Motion, Origin, Person
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.stream import Stream

NEAR_PX = 30.0  # how far the two people stand apart: so near that one would be taken for the other


class Actors:
    """An estimator of one person at a place for each frame, or nobody. It notes its calls."""

    skeleton = "BlazePose-33"

    def __init__(self, x_of: Callable[[int], float | None]) -> None:
        self._x_of = x_of
        self.calls: list[int | str] = []

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
        index = round(time_s * 30)
        self.calls.append(index)
        x_px = self._x_of(index)
        return [] if x_px is None else [person(x_px=x_px)]

    def forget(self) -> None:
        self.calls.append("forget")


class Live(FrameSource):
    """Pictures of a camera. `waits`: what to wait for before a picture."""

    def __init__(self, pictures: Iterable[np.ndarray], waits: Mapping[int, Callable[[], object]]) -> None:
        super().__init__()
        self._pictures = enumerate(pictures)
        self._waits = waits
        self.info = VideoInfo(source="live", width=160, height=120, rate_hz=30.0, live=True)

    def __next__(self) -> Frame:
        index, rgb = next(self._pictures)
        self._waits.get(index, lambda: None)()
        return frame_from_array(rgb, index / 30, index)

    def close(self) -> None:
        pass


def after_cut(index: int) -> float:
    return 100.0 if index < 25 else 100.0 + NEAR_PX


def motions_of(pictures: Iterable[np.ndarray], estimator: object, **options: object) -> tuple[list[Motion], Stream]:
    timed = ((rgb, index / 30) for index, rgb in enumerate(pictures))
    with Stream(timed, models=models(), estimator=estimator, **options) as stream:
        return list(stream), stream


def spans(motions: list[Motion]) -> list[tuple[int, tuple[int, ...]]]:
    """The index of each final Motion whose ids are others than those before it, with its ids."""
    ids = [(motion.index, tuple(motion.ids.tolist())) for motion in motions if motion.final]
    return [row for n, row in enumerate(ids) if not n or row[1] != ids[n - 1][1]]


def hips_x(motion: Motion) -> float:
    return float(motion.poses[0, 23:25, 0].mean())


@pytest.mark.parametrize("lag", [0, 1])
def test_nobody_is_blended_across_a_cut(lag):
    actors = Actors(after_cut)
    motions, stream = motions_of(shots(25, 25), actors, lag=lag)
    finals = [motion for motion in motions if motion.final]
    assert [motion.index for motion in finals] == list(range(50))
    assert spans(finals) == [(0, (0,)), (25, (1,))]
    for motion in finals:
        assert hips_x(motion) == pytest.approx(after_cut(motion.index))
        assert (motion.origin == (Origin.MEASURED if motion.keyframe else Origin.FILLED)).all()
    # Two calls more than the clock's; from the first frame of the scene on, it runs anew.
    assert [motion.index for motion in finals if motion.keyframe] == [0, 10, 20, 24, 25, 35, 45, 49]
    assert actors.calls == [0, 10, 20, 24, "forget", 25, 35, 45, 49]
    assert stream.stats.counters == {"scene_cuts": 1}


def test_pushed_frames_give_the_finals_of_a_source():
    whole, _ = motions_of(shots(25, 25), Actors(after_cut))
    # Pushed pictures are followed between keyframes by default, and those of a source are not.
    pushed = Stream(models=models(), estimator=Actors(after_cut), glance=False)
    motions = [motion for index, rgb in enumerate(shots(25, 25)) for motion in pushed.push(rgb, index / 30, wait=True)]
    finals = [motion for motion in motions + pushed.close() if motion.final]
    for a, b in zip(whole, finals, strict=True):
        assert (a.index, a.keyframe, a.ids.tolist()) == (b.index, b.keyframe, b.ids.tolist())
        np.testing.assert_array_equal(a.poses, b.poses)


def test_without_cuts_a_person_is_followed_across():
    motions, stream = motions_of(shots(25, 25), Actors(after_cut), cuts=False)
    assert spans(motions) == [(0, (0,))]
    assert not stream.stats.counters


@pytest.mark.parametrize("cut", [8, 10, 11, 19, 20, 29, 48, 49])
def test_a_cut_may_lie_at_a_keyframe_and_near_the_end(cut):
    motions, _ = motions_of(shots(cut, 50 - cut), Actors(lambda index: 100.0 if index < cut else 130.0))
    assert spans(motions) == [(0, (0,)), (cut, (1,))]
    assert all((motion.origin != Origin.FORECAST).all() for motion in motions)


def test_people_who_stay_where_they_are_go_on_through_another_picture():
    motions, stream = motions_of(shots(25, 25), Actors(lambda index: 100.0 + 0.1 * index))
    assert spans(motions) == [(0, (0,))]
    assert "scene_cuts" not in stream.stats.counters


def test_people_are_known_again_when_their_scene_is_back_within_a_second():
    pictures = [scene(0 if index < 25 or index >= 40 else 1, index) for index in range(60)]
    motions, _ = motions_of(pictures, Actors(lambda index: None if 25 <= index < 40 else 100.0))
    assert spans(motions) == [(0, (0,)), (25, ()), (40, (0,))]


def test_a_flash_takes_no_id_even_where_it_blinds_the_estimator():
    pictures = [scene(0, index) if not 20 <= index < 23 else brighter(scene(0, index), 5.0) for index in range(50)]
    motions, _ = motions_of(pictures, Actors(lambda index: None if 20 <= index < 23 else 100.0))
    assert spans(motions) == [(0, (0,))]


def test_recorded_estimates_of_keyframes_alone_know_no_other_frames():
    def recording(times: np.ndarray) -> ArrayEstimator:
        people = [person(x_px=after_cut(round(30 * time_s))) for time_s in times]
        arrays = {"poses": [one.pose for one in people], "world": [one.world for one in people]}
        return ArrayEstimator({"time_s": times} | {name: np.array(values) for name, values in arrays.items()})

    motions, _ = motions_of(shots(25, 26), recording(np.arange(6) / 3))
    assert spans(motions) == [(0, (0,))]
    motions, _ = motions_of(shots(25, 26), recording(np.arange(51) / 30))
    assert spans(motions) == [(0, (0,)), (25, (1,))]


def test_live_estimates_of_before_a_cut_are_not_used_after_it():
    entered, may_answer = threading.Event(), threading.Event()
    answered = {0: threading.Event(), 10: threading.Event(), 25: threading.Event()}

    class Slow(Actors):
        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            index = round(time_s * 30)
            if index == 20:
                entered.set()
                may_answer.wait(10)
            people = super().__call__(rgb, time_s)
            if index in answered:
                answered[index].set()
            return people

    # The estimator is free at frames 10 and 20, looks at frame 20 until frame 33 has come, and at both sides of the cut
    # before frame 40. What it answers is there a moment after its call.
    waits = {2: lambda: answered[0].wait(10), 12: lambda: answered[10].wait(10), 22: lambda: entered.wait(10)}
    waits |= {index: lambda: time.sleep(0.02) for index in (*range(3, 10), *range(13, 20))}
    waits |= {34: may_answer.set, 40: lambda: answered[25].wait(10)}
    actors = Slow(after_cut)
    # These pictures show nobody where the actors are: a glance would follow what is there.
    with Stream(Live(shots(25, 35), waits), models=models(), estimator=actors, lag=0, glance=False) as stream:
        motions = list(stream)
    first = {motion.index: motion for motion in reversed(motions) if not motion.final}
    assert all(first[index].ids.tolist() == [] for index in range(28, 34))  # nobody of before, nobody invented
    finals = {motion.index: motion for motion in motions if motion.final}
    assert sorted(finals) == list(range(60))
    assert finals[20].keyframe and finals[24].keyframe and finals[25].keyframe
    assert all(finals[index].ids.tolist() == [0] for index in range(25))
    assert all(finals[index].ids.tolist() == [1] for index in range(25, 60))
    assert all(hips_x(motion) == pytest.approx(after_cut(index)) for index, motion in finals.items())


def test_live_scenes_faster_than_the_estimator_are_neither_blended_nor_queued():
    lengths = (12, 8, 8, 8, 24)
    entered, may_answer, seen = threading.Event(), threading.Event(), threading.Event()

    class Slow(Actors):
        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            entered.set()
            may_answer.wait(10)
            people = super().__call__(rgb, time_s)
            if round(time_s * 30) == 36:
                seen.set()
            return people

    # The estimator looks at frame 0 until all scenes have begun, which are a little apart.
    waits = {1: lambda: entered.wait(10), 42: may_answer.set, 43: lambda: seen.wait(10)}
    actors = Slow(lambda index: 100.0 + NEAR_PX * sum(index >= first for first in (12, 20, 28, 36)))
    with Stream(Live(shots(*lengths), waits), models=models(), estimator=actors, lag=0) as stream:
        finals = {motion.index: motion for motion in stream if motion.final}
    assert sorted(finals) == list(range(sum(lengths)))
    assert actors.calls[:3] == [0, "forget", 36]
    assert spans([finals[index] for index in range(60)]) == [(0, (0,)), (12, ()), (36, (1,))]
    assert stream.stats.counters["scene_cuts"] == 4


def test_a_live_loop_left_after_a_cut_shows_nobody_of_before():
    seen, may_answer = threading.Event(), threading.Event()

    class Slow(Actors):
        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            if round(time_s * 30) >= 20:
                seen.set()  # the people of frame 10 are in the scene
                may_answer.wait(10)
            return super().__call__(rgb, time_s)

    waits = {index: lambda: time.sleep(0.01) for index in range(1, 20)} | {24: lambda: seen.wait(10)}
    source = Live(shots(25, 35), waits)
    stream = Stream(source, models=models(), estimator=Slow(after_cut), lag=0)
    for motion in stream:
        if motion.index == 35:
            may_answer.set()
            break
    rest = {motion.index: motion.ids.tolist() for motion in stream.close() if motion.final}
    assert rest[24] == [0] and max(rest) == 35
    assert all(rest[index] == [] for index in range(25, 36))

"""Streams: several live sources in one process, none of which holds up another."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from support import clips, fakes

from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.pipeline import Stream, Streams
from mixsynth_stream.pipeline.frame import SourceEvent, VideoInfo
from mixsynth_stream.pipeline.keyframes import KeyframeChooser
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.steps import push_keyframes

HZ = 30.0
DEADLINE_S = 20.0


class Camera(FrameSource):
    """A live source whose pictures show its number; it ends, breaks with an error, or gives nothing more."""

    def __init__(self, number: int, frames: int, *, error: str = "", stays: bool = False) -> None:
        super().__init__()
        self.info = VideoInfo(source=f"camera {number}", width=64, height=48, rate_hz=HZ, live=True)
        self._rest = [(np.full((48, 64, 3), number, np.uint8), k / HZ) for k in range(frames)]
        self._given, self._error, self._stays = 0, error, stays
        self.is_closed = threading.Event()

    def __next__(self):
        raise AssertionError("streams read with a time limit")

    def read(self, timeout_s):
        assert timeout_s == 0, "one source must not wait while others have frames"
        if self.is_closed.is_set():
            raise StopIteration
        if self._given < len(self._rest):
            rgb, time_s = self._rest[self._given]
            self._given += 1
            return frame_from_array(rgb, time_s, self._given - 1)
        if self._error:
            raise SourceError(self._error)
        if self._stays:
            return None
        raise StopIteration

    def now_s(self):
        return self._given / HZ

    def close(self):
        self.is_closed.set()
        self.on_news()


def place_px(number: int, time_s: float) -> float:
    return 100.0 * number + 20.0 * time_s


class EnoughError(Exception):
    """Raised in a callback, to end a loop."""


class Knowing:
    """An estimator that reads in the picture which camera it is."""

    skeleton = "BlazePose-33"

    def __call__(self, rgb, time_s) -> list[Person]:
        return [fakes.person(x_px=place_px(int(rgb[0, 0, 0]), time_s))]


OPTIONS = {"every": 10, "glance": False, "cuts": False, "max_people": 1}


def streams_of(cameras, **options):
    options = {"models": fakes.models(), "estimator": Knowing(), **OPTIONS, **options}
    return Streams(cameras, **options)


def read_in_step(streams):
    """All Motions by source, where each look has ended before the next frame is taken."""
    by_source: dict[int, list] = {number: [] for number in range(len(streams.streams))}
    end_s = time.monotonic() + DEADLINE_S
    for number, motion in streams.motions():
        by_source[number].append(motion)
        while streams._looks.is_working:
            assert time.monotonic() < end_s, "the estimator has not answered"
            time.sleep(0.001)
    return by_source


def finals(motions):
    return {motion.index: motion for motion in motions if motion.final}


def test_each_source_gives_what_it_gives_alone_and_all_share_calls_of_the_network(monkeypatch):
    monkeypatch.setattr("mixsynth_stream.pipeline.several.streams._FRAMES_A_LOOK", 1)
    models = fakes.models()
    with streams_of([Camera(number, 45) for number in range(3)], models=models) as streams:
        by_source = read_in_step(streams)
    assert max(models[0].batches) == max(models[1].batches) == 3
    for number, motions in by_source.items():
        together = finals(motions)
        assert sorted(together) == list(range(45)) == sorted(m.index for m in motions if m.final)
        with Stream(models=fakes.models(), estimator=Knowing(), **OPTIONS) as stream:
            pictures = [np.full((48, 64, 3), number, np.uint8)] * 45
            alone = [m for k, rgb in enumerate(pictures) for m in stream.push(rgb, k / HZ, wait=True)]
            alone = finals(alone + stream.close())
        for index, motion in together.items():
            np.testing.assert_allclose(motion.poses, alone[index].poses, atol=1e-3)
            np.testing.assert_array_equal(motion.origin, alone[index].origin)


def test_where_frames_wait_looks_are_rarer():
    cameras = [Camera(number, 45) for number in range(3)]  # all frames are there from the beginning
    with streams_of(cameras, every=5, models=fakes.models(sample_interval=5)) as streams:
        read_in_step(streams)
        keyframes = [stream.stats.keyframes for stream in streams.streams]
    at_ends = 3
    assert 3 * 45 / 8 - 2 <= sum(keyframes) - at_ends <= 3 * 45 / 8 + 1, keyframes
    assert min(keyframes) > 3


def test_a_source_that_fails_holds_up_no_other():
    ends = {}
    cameras = {"refused": None, "broken": Camera(1, 5, error="the cable is out"), "whole": Camera(2, 25)}

    def open_with(name):
        if cameras[name] is None:
            raise SourceError("refused cannot be opened")
        return cameras[name]

    with streams_of(list(cameras), open_with=open_with) as streams:
        streams.on_end = ends.__setitem__
        by_source = {0: [], 1: [], 2: []}
        with pytest.raises(SourceError, match="2 of 3 sources failed: refused cannot be opened; the cable is out"):
            for number, motion in streams:
                by_source[number].append(motion)
    assert [len(finals(by_source[number])) for number in range(3)] == [0, 5, 25]
    assert ends[2] is None and set(streams.errors) == {0, 1} == {number for number, error in ends.items() if error}


def test_a_source_that_gives_nothing_holds_up_no_other_and_is_closed_with_its_finals():
    events, ended, given = [], [], []
    silent = Camera(0, 3, stays=True)
    silent._events.append(SourceEvent("lost", 0.1, 3, "no answer"))

    def wait(number):
        assert number == 0
        if ended:
            raise EnoughError

    with streams_of([silent, Camera(1, 25)]) as streams:
        streams.on_wait = wait
        streams.on_event = lambda number, event: events.append((number, event.kind))
        streams.on_end = lambda number, error: ended.append((number, error))
        with pytest.raises(EnoughError):
            given.extend(iter(streams))
        given += streams.close()
    assert ended == [(1, None)] and events == [(0, "lost")]
    assert [len(finals(motion for number, motion in given if number == source)) for source in (0, 1)] == [3, 25]
    assert silent.is_closed.wait(DEADLINE_S)


def test_close_does_not_wait_for_an_estimator_that_hangs():
    release = threading.Event()

    class Hanging(Knowing):
        def __call__(self, rgb, time_s):
            release.wait(DEADLINE_S)
            return super().__call__(rgb, time_s)

    streams = streams_of([Camera(0, 9, stays=True), Camera(1, 9, stays=True)], estimator=Hanging())
    given = [next(iter(streams)) for _ in range(1)]
    start_s = time.monotonic()
    given += streams.close()
    assert time.monotonic() - start_s < DEADLINE_S / 4
    release.set()
    assert given


def test_a_loop_that_is_left_early_loses_nothing():
    cameras = [Camera(0, 25, stays=True), Camera(1, 25, stays=True)]
    with streams_of(cameras) as streams:
        given = []
        for number, motion in streams:
            given.append((number, motion))
            if motion.final and motion.index >= 3:  # finals come several at a time
                break
        given += streams.close()
        assert streams.close() == []
    for number in range(2):
        provisional = {motion.index for source, motion in given if source == number and not motion.final}
        shown = [motion.index for source, motion in given if source == number and motion.final]
        assert set(shown) == provisional == set(range(len(shown)))


def test_keyframes_that_one_window_refuses_are_taken_by_the_others():
    people = [People(fakes.models(), max_people=1) for _ in range(2)]
    for one, first_s in zip(people, (0.0, 5.0), strict=True):
        one.observe([fakes.person()], first_s, 480)
    steps = [one.observing([fakes.person()], 1.0, 480) for one in people]
    refusals = push_keyframes([next(one) for one in steps])
    assert refusals[0] is None
    assert isinstance(refusals[1], ValueError) and "times must increase" in str(refusals[1])


def test_the_source_that_moves_most_is_looked_at_most_and_none_starves():
    growths = np.array([0.0, 0.0, 0.1, 0.1, 0.4, 0.4, 1.6, 1.6])  # body scales a second
    choosers = [KeyframeChooser(10.0) for _ in growths]
    looks: list[list[float]] = [[0.0] for _ in growths]
    for chooser in choosers:
        chooser.tick(0.0)
    for frame in range(1, 900):
        now_s = frame / HZ
        for chooser, growth, times in zip(choosers, growths, looks, strict=True):
            chooser.see(now_s, growth * (now_s - times[-1]))
        due = [n for n, chooser in enumerate(choosers) if chooser.is_due(now_s)]
        if due and frame % 2 == 0:  # the estimator is free every other frame: 15 calls a second for eight sources
            chosen = max(due, key=lambda n: choosers[n].need(now_s))
            choosers[chosen].tick(now_s)
            looks[chosen].append(now_s)
    counts = np.array([len(times) for times in looks])
    assert (np.diff(counts[::2]) > 0).all() and (counts > 10).all(), counts
    assert max(np.diff(times).max() for times in looks) < 2.5


@pytest.mark.parametrize(
    ("estimators", "kind", "part"),
    [
        ([Knowing()], ValueError, "one estimator for all sources or one for each, found 1 for 2"),
        (type("Follows", (Knowing,), {"forget": lambda self: None})(), ModelError, "one for each source"),
    ],
)
def test_estimators_that_do_not_fit_several_sources(estimators, kind, part):
    with pytest.raises(kind, match=part):
        streams_of([Camera(0, 1), Camera(1, 1)], estimator=estimators)


def test_each_source_may_have_an_estimator_of_its_own():
    class At(Knowing):
        def __init__(self, x_px):
            self.x_px = x_px

        def __call__(self, rgb, time_s):
            return [fakes.person(x_px=self.x_px)]

        def forget(self):
            pass

    with streams_of([Camera(0, 3), Camera(1, 3)], estimator=[At(100.0), At(500.0)]) as streams:
        means = {number: motion.poses[0, :, 0].mean() for number, motion in streams if len(motion.ids)}
    assert means[0] == pytest.approx(fakes.standing_pose(100.0)[:, 0].mean())
    assert means[1] == pytest.approx(fakes.standing_pose(500.0)[:, 0].mean())


def test_a_file_is_refused_beside_cameras(tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", frames=3)
    with (
        streams_of([str(clip), "nowhere.mp4"]) as streams,
        pytest.raises(SourceError, match="2 of 2 sources failed.*is a file"),
    ):
        list(streams)
    with pytest.raises(ValueError, match="a list of one or more"):
        streams_of("rtsp://a")

"""What a soak run has found: memory and threads that grow while an estimator hangs, and frames that are final twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from support import clips
from support.fakes import FakeFrame, models, person

from mixsynth_stream.pipeline.estimators import supervised
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.estimators.supervised import SupervisedEstimator
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.own_frames import RgbReader
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.pipeline.timeline import Timeline

RATE_HZ = 30


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("is_seen", [True, False])
def test_a_frame_whose_look_takes_too_long_is_final_once(lag: int, is_seen: bool) -> None:
    timeline = Timeline(People(models(), max_people=1), lag=lag, horizon_s=0.4)
    frames = [FakeFrame(k, k / RATE_HZ) for k in range(120)]
    motions = [*timeline.frame(frames[0]), *timeline.keyframe(frames[0], [person()])]  # type: ignore[arg-type]
    for frame in frames[1:100]:
        motions += timeline.frame(frame)  # type: ignore[arg-type]
        motions += timeline.settle(frame.time_s - 2.0)
    motions += timeline.keyframe(frames[10], [person()] if is_seen else [])  # type: ignore[arg-type]
    for frame in frames[100:]:
        motions += timeline.frame(frame)  # type: ignore[arg-type]
    motions += timeline.flush()
    assert [motion.index for motion in motions if motion.final] == list(range(120))
    shown = [motion.index for motion in motions if not motion.final]
    assert shown == ([0, *range(120)] if lag == 0 else [])


class Pictures(RgbReader):
    """A live source whose pictures can be counted while anybody still holds them."""

    def __init__(self, count: int, rate_hz: int = RATE_HZ) -> None:
        self.held: list[weakref.ref[np.ndarray]] = []
        super().__init__(self._make(count, rate_hz))
        self.info = replace(self.info, live=True)

    def _make(self, count: int, rate_hz: int) -> Iterator[tuple[np.ndarray, float]]:
        for number in range(count):
            rgb = np.full((48, 64, 3), number % 200, np.uint8)
            self.held.append(weakref.ref(rgb))
            yield rgb, number / rate_hz

    @property
    def alive(self) -> int:
        return sum(reference() is not None for reference in self.held)


@pytest.mark.parametrize(
    ("rate_hz", "are_read", "at_least", "at_most"),
    # Those of two seconds, or as many as may wait, and some that are looked at or compared.
    [(30, True, 60, 70), (300, True, 120, 130), (2000, False, 120, 130)],
)
def test_an_estimator_that_hangs_keeps_no_more_pictures_than_may_wait(
    rate_hz: int, are_read: bool, at_least: int, at_most: int
) -> None:
    count = 300 if rate_hz == 30 else 1000
    source, answer, calls = Pictures(count, rate_hz), threading.Event(), iter(range(1000))

    def estimator(rgb: np.ndarray, time_s: float) -> list[Any]:
        if next(calls):
            answer.wait(30)
        return [person(x_px=30, y_px=20, size_px=15)]

    most = 0
    finals = []
    with Stream(
        source, models=models(), estimator=as_estimator(estimator, "BlazePose-33"), glance=True, pictures=are_read
    ) as stream:
        for motion in stream:
            most = max(most, source.alive)
            finals += [motion.index] if motion.final else []
            if motion.index == count - 10:
                answer.set()
    assert finals == list(range(count))
    assert at_least <= most <= at_most


def test_an_estimator_that_was_given_up_is_closed_when_its_call_returns() -> None:
    closed, begun, answer = [], threading.Event(), threading.Event()

    class Hanging:
        skeleton = "BlazePose-33"

        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Any]:
            begun.set()
            answer.wait(30)
            return []

        def forget(self) -> None: ...

        def close(self) -> None:
            closed.append(self)

    supervisor = SupervisedEstimator(Hanging, StreamStats(), is_own=True, is_live=True)
    first, frame = supervisor.estimator, FakeFrame(0, 0.0)
    thread = threading.Thread(target=supervisor.look(frame, lambda _: None))  # type: ignore[arg-type, return-value]
    thread.start()
    assert begun.wait(5)
    assert supervisor.renew()
    assert closed == []  # it is in use
    answer.set()
    thread.join(5)
    assert closed == [first]
    assert supervisor.look(frame, lambda _: None)() == []  # type: ignore[arg-type, return-value]
    assert supervisor.estimator is not first
    assert closed == [first]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_pictures_that_wait_hold_no_threads(tmp_path: Any) -> None:
    with open_source(str(clips.make(tmp_path / "a.mp4", frames=60))) as reader:
        frames = list(islice(reader, 1))
        assert frames[0].rgb.shape == (48, 64, 3)
        before = len(os.listdir("/proc/self/task"))
        frames += [frame for frame in islice(reader, 50) if frame.rgb.any()]
        assert len(os.listdir("/proc/self/task")) <= before + 4
    assert len(frames) > 40


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    """In a process of its own, where nobody else takes memory meanwhile."""
    code = """
import threading
from pathlib import Path
from mixsynth_stream.memory import give_memory_back
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
kept = []
def work():
    many = [bytearray(1 << 16) for _ in range(1500)]
    kept.append(many[-1])
thread = threading.Thread(target=work)
before = pages()
thread.start()
thread.join()
held = pages() - before
give_memory_back()
print(held, pages() - before)
"""
    held, kept = map(int, subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split())
    if held < 10_000:
        pytest.skip("this C library gives memory back by itself")
    assert kept < 0.1 * held


def test_memory_goes_back_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, clock = [], iter(range(0, 100_000, 7))
    monkeypatch.setattr(supervised, "give_memory_back", lambda: calls.append(1))
    monkeypatch.setattr(supervised.time, "perf_counter", lambda: next(clock))
    make = lambda: as_estimator(lambda rgb, time_s: [], "BlazePose-33")  # noqa: E731
    supervisor = SupervisedEstimator(make, StreamStats(), is_own=False, is_live=True)
    start_s = next(clock)
    while next(clock) < start_s + 600:
        supervisor._trim()
    assert 8 <= len(calls) <= 10

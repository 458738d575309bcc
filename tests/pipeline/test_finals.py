"""Finals of a live source: a frame of now comes first, and they follow a few at a time, in order, none too late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from support.fakes import FakeFrame, models, person

from mixsynth_stream.pipeline import Motion, Stream
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.finals import Finals
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.recording.recorder import RecordingJournal, checksum
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.steps import completed
from mixsynth_stream.pipeline.timeline import Timeline

PICTURE = np.zeros((48, 64, 3), np.uint8)
FRAMES = 45


@pytest.mark.parametrize(("every", "rate_hz"), [(3, 30), (10, 30), (15, 30), (20, 60)])
def test_a_few_come_with_each_frame_and_all_before_the_next_keyframe(every: int, rate_hz: int) -> None:
    prompt, spread = (Timeline(People(models(), max_people=1), lag=0, horizon_s=0.2) for _ in range(2))
    at_once: list[Motion] = []
    finals: list[Motion] = []
    for index in range(3 * every + 1):
        frame, people = FakeFrame(index, index / rate_hz), [person(x_px=100 + 3 * index)]
        if index % every:
            assert len(prompt.frame(frame)) == len(spread.frame(frame)) == 1  # type: ignore[arg-type]
        else:
            assert [one.index for one in finals] == list(range(max(index - every, 0)))
            at_once += [one for one in prompt.keyframe(frame, people) if one.final]  # type: ignore[arg-type]
            (own,) = completed(spread.looking(frame, people))  # type: ignore[arg-type]
            assert (own.index, own.keyframe, own.final) == (index, True, False)
        piece = spread.some_finals()
        assert len(piece) <= 4 and all(one.final for one in piece)
        finals += piece
    finals += spread.finals()
    for a, b in zip(at_once, finals, strict=True):
        assert (a.index, a.keyframe) == (b.index, b.keyframe)
        np.testing.assert_array_equal(a.poses, b.poses)


def test_a_gap_that_is_not_done_comes_before_the_next_one() -> None:
    finals = Finals()

    def gap(*pieces: int) -> Iterator[list[int]]:
        return ([piece] for piece in pieces)

    finals.add(gap(1, 2, 3))  # type: ignore[arg-type]
    assert finals.piece() == [1]
    finals.add(gap(4, 5))  # type: ignore[arg-type]
    assert finals.piece() == [2, 3, 4]
    finals.add(gap(6))  # type: ignore[arg-type]
    assert finals.all() == [5, 6]
    assert finals.piece() == finals.all() == []


@pytest.mark.parametrize("look_is_first", [True, False])
def test_a_look_may_begin_before_finals_are_made_or_after(look_is_first: bool) -> None:
    """Streams beside others do either, and a replay makes finals as soon as their frame is out."""
    turns: list[dict[str, Any]] = []
    store: Any = SimpleNamespace(put=turns.append, folder=None)
    journal = RecordingJournal(store, cast(Any, SimpleNamespace(now_s=lambda: 0.0)))
    now, past, newer = run_of_three()

    def look() -> None:
        journal.step("look")
        journal.check([])

    journal.begin_turn({"frame": [1, 1, 0.1, 0.1]})
    journal.check([now])
    if look_is_first:
        look()
    journal.check_later([past])
    if not look_is_first:
        look()
    journal.begin_turn({"frame": [2, 2, 0.2, 0.2]})
    journal.check([newer])
    journal.end_turn()
    assert [turn["motions"] for turn in turns] == [
        [1, checksum([now])],
        [0, checksum([])],
        [2, checksum([past, newer])],
    ]


def run_of_three() -> list[Motion]:
    timeline = Timeline(People(models(), max_people=1), lag=0, horizon_s=0.2)
    frames = [FakeFrame(index, index / 30) for index in range(3)]
    return [motion for frame in frames for motion in timeline.frame(frame)]  # type: ignore[arg-type]


class Camera(FrameSource):
    """Gives each frame once the look at the one before has ended, if there was one, and pauses before frame 23."""

    def __init__(self) -> None:
        super().__init__()
        self.info = VideoInfo(source="camera", width=64, height=48, rate_hz=30.0, live=True)
        self.looked = threading.Event()
        self._next = 0
        self._has_paused = False

    def __next__(self) -> Frame:
        raise StopIteration  # it is read with `read`

    def read(self, timeout_s: float) -> Frame | None:
        if self._next == FRAMES:
            raise StopIteration
        if self._next % 10 == 1:
            assert self.looked.wait(5.0)
            self.looked.clear()
        if self._next == 23 and not self._has_paused:
            self._has_paused = True
            return None
        frame = frame_from_array(PICTURE, self._next / 30, self._next)
        self._next += 1
        return frame

    def wake(self) -> None:
        self.looked.set()

    def now_s(self) -> float:
        return self._next / 30

    def close(self) -> None:
        pass


def test_a_live_frame_that_waits_is_answered_before_the_past() -> None:
    estimator = as_estimator(lambda rgb, time_s: [person(x_px=100 + 30 * time_s)], "BlazePose-33")
    with Stream(Camera(), estimator=estimator, every=10, models=models(), cuts=False, glance=False) as stream:
        order = [(one.index, one.final, one.keyframe) for one in stream]
    # With frame 21 comes the answer to 20; the poses between 10 and 20 are final then.
    at = order.index((21, False, False))
    assert order[at - 2 : at] == [(20, False, False), (20, False, True)]
    until = order.index((22, False, False))
    assert all(final for _, final, _ in order[at + 1 : until]) and until - at <= 5
    assert len([index for index, final, _ in order[:until] if final]) < 20
    # Where no frame comes, nothing waits any longer.
    paused = order.index((23, False, False))
    assert [index for index, final, _ in order[:paused] if final] == list(range(20))
    assert [index for index, final, _ in order if final] == list(range(FRAMES))

"""Several sources recorded at the same time: each is replayed by itself, with every bit that it gave beside others."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.recordings import SCENES, SECONDS, Irregular, bits, camera, recorded, replay
from support.tcp_camera import scene_clip

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline import Stream, Streams
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.several import streams as several
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.steps import Keyframes, push_keyframes


class Truth:
    """Knows the scene, and breaks for good at a call, if it is to."""

    skeleton = "BlazePose-33"

    def __init__(self, breaks_at: int | None = None) -> None:
        self._breaks_at, self._calls = breaks_at, 0

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
        self._calls += 1
        if self._calls == self._breaks_at:
            raise ModelError("the model is broken")
        return SCENES[rgb.shape[1::-1]].truth(time_s)


class InStep(Streams):
    """Takes answers where every source that runs has one."""

    def _take_answers(self) -> None:
        if all(member._shared_looks.has_ended for _, member in self._running()):
            super()._take_answers()


def played(source: str, record: Path) -> FrameSource:
    return open_source(source, request=LiveRequest(is_paced=True), record=record)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    return [str(scene_clip(folder / f"{size[0]}.mkv", scene, SECONDS)) for size, scene in SCENES.items()]


def test_cameras_that_are_lost_and_come_back_are_replayed_bit_for_bit(tmp_path: Path) -> None:
    slow, folders = random.Random(2), [tmp_path / "a", tmp_path / "b"]
    motions: list[list[Any]] = [[], []]
    events: list[list[Any]] = [[], []]
    with ExitStack() as stack:
        addresses = []
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            addresses.append(stack.enter_context(camera(tmp_path / str(number))))
        estimators = [Irregular(seed) for seed in (1, 3)]
        streams = stack.enter_context(Streams(addresses, estimator=estimators, open_with=recorded, record=folders))
        streams.on_event = lambda number, event: events[number].append(event)
        for number, motion in streams.motions():
            motions[number].append(bits(motion))
            are_back = all("size" in {event.kind for event in its_events} for its_events in events)
            if are_back and min(len(its_motions) for its_motions in motions) > 60:
                break
            time.sleep(0.2 if slow.random() < 0.02 else 0.0)
        for number, motion in streams.close():
            motions[number].append(bits(motion))
    for number, stream in enumerate(streams.streams):
        again, same_motions, same_events = replay(folders[number])
        assert {"lost", "back", "size"} <= {event.kind for event in same_events}
        assert same_events == events[number]
        assert same_motions == motions[number]
        assert stream is not None and again.stats.counters == stream.stats.counters
        assert (again.stats.keyframes, str(again.score)) == (stream.stats.keyframes, str(stream.score))
        assert str(again.stats.ledger) == str(stream.stats.ledger)


@pytest.mark.parametrize(("backend", "together"), [("native", 2), ("torch", 1)])
def test_keyframes_share_a_call_of_the_network_where_that_changes_no_bit(
    tmp_path: Path, clips: list[str], monkeypatch: pytest.MonkeyPatch, backend: str, together: int
) -> None:
    batches, folders = [], [tmp_path / "a", tmp_path / "b"]

    def counted(steps: Sequence[Keyframes]) -> list[ValueError | None]:
        batches.append(len(steps))
        return push_keyframes(steps)

    monkeypatch.setattr(several, "push_keyframes", counted)
    motions: list[list[Any]] = [[], []]
    with InStep(clips, every=5, backend=backend, estimator=Truth(), open_with=played, record=folders) as streams:
        for number, motion in streams.motions():
            motions[number].append(bits(motion))
    assert max(batches) == together
    assert [replay(folder)[1] for folder in folders] == motions


def test_a_stream_that_is_stopped_and_one_whose_estimator_breaks_are_replayed_to_their_ends(
    tmp_path: Path, clips: list[str]
) -> None:
    folders = [tmp_path / "stopped", tmp_path / "broken"]
    given: list[list[Motion]] = [[], []]
    with Streams(clips, estimator=[Truth(), Truth(breaks_at=3)], open_with=played, record=folders) as streams:
        for number, motion in streams.motions():
            given[number].append(motion)
            if number == 0 and motion.index == 12:
                streams.stop(0)
    assert set(streams.errors) == {1}
    assert replay(folders[0])[1] == [bits(motion) for motion in given[0]]
    same = []
    with Stream.replay(folders[1]) as stream, pytest.raises(ModelError, match="the model is broken"):
        same.extend(bits(motion) for motion in stream)
    assert same == [bits(motion) for motion in given[1]]


@pytest.mark.parametrize("record", ["session", ["a"], ["a", "a"]])
def test_each_source_needs_a_folder_of_its_own(record: Any) -> None:
    with pytest.raises(ValueError, match="a list of 2 folders, one for each source, found"):
        Streams(["rtsp://a", "rtsp://b"], record=record)

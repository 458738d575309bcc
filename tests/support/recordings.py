"""What is recorded in tests: a camera with faults, an irregular estimator, and Motions as bits, to be compared."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from support.tcp_camera import scene_clip, tcp_camera

from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.recording.recorder import RecordedReader
from mixsynth_stream.pipeline.sources.synthetic import SyntheticScene
from mixsynth_stream.pipeline.stream import Stream

SCENES = {size: SyntheticScene(people=2, size=size) for size in ((320, 240), (240, 320))}
SECONDS = 1.2


class Irregular:
    """Knows the scene, takes from 2 to 300 ms for it, and fails now and then."""

    skeleton = "BlazePose-33"

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._calls = 0

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
        self._calls += 1
        time.sleep(self._random.choice((0.002, 0.03, 0.1, 0.3)))
        if self._calls % 7 == 3:
            raise ValueError("a fault")
        return SCENES[rgb.shape[1::-1]].truth(time_s)


def bits(motion: Motion) -> tuple[Any, ...]:
    """All of a Motion, of which two are equal only bit for bit."""
    arrays = [values.tobytes() for values in (*motion.arrays().values(), *motion.forecast.arrays().values())]
    measured = None if motion.measured is None else [person.pose.tobytes() for person in motion.measured]
    place = motion.index, motion.time_s, motion.final, motion.keyframe, motion.latency
    frame = motion.frame
    size = None if frame is None else (frame.width, frame.height, frame.received_s)
    return *place, size, motion.ids.tobytes(), arrays, measured


@contextmanager
def camera(tmp_path: Path) -> Iterator[str]:
    """Loses its connection after some seconds, and comes back with another size."""
    clips = [scene_clip(tmp_path / f"{width}.mkv", scene, SECONDS) for (width, _), scene in SCENES.items()]
    with tcp_camera(clips, SECONDS) as address:
        yield address


def recorded(address: str, record: Path) -> RecordedReader:
    return RecordedReader(record, lambda tap: LiveReader(address, tap=tap, pause_s=lambda _: 0.1))


def replay(folder: Path) -> tuple[Stream, list[Any], list[SourceEvent]]:
    events: list[SourceEvent] = []
    with Stream.replay(folder) as stream:
        stream.on_event = events.append
        motions = [bits(motion) for motion in stream]
    return stream, motions, events

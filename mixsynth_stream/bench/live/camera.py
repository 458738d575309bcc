"""Camera: a clip as a live source of its own pace, for real estimators. Each frame keeps its number and its time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.bench.live.shown import Shown
from mixsynth_stream.evaluate.contenders import dense_contender
from mixsynth_stream.evaluate.frontier import LIMBS
from mixsynth_stream.memory import rare_collections
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.pipeline.stream import Stream

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.estimators.estimator import Estimator
    from mixsynth_stream.pipeline.motion import Motion

# A reader that is so late loses frames, as that of a camera does.
_LATEST_S = 0.1
# The loop's times count after so long: the first answers wait for what is loaded when it is first needed.
_WARM_UP_S = 1.0


class ClipCamera(FrameSource):
    """The frames of a clip, each when it is due. The clock starts with the first that is read."""

    def __init__(self, clip: Path) -> None:
        super().__init__()
        with VideoReader(clip) as reader:
            self.info = replace(reader.info, live=True)
            self._frames = list(reader)
        self.count = len(self._frames)
        self._next = 0
        self._changed = threading.Condition()
        self._is_woken = False
        self._start_s: float | None = None

    def __next__(self) -> Frame:
        frame = None
        while frame is None:
            frame = self.read(1.0)
        return frame

    def read(self, timeout_s: float) -> Frame | None:
        if self._start_s is None:
            self._start_s = time.perf_counter() - self._frames[0].time_s
        if self._next == len(self._frames):
            raise StopIteration
        while self._next < len(self._frames) - 1 and self._late_s() > _LATEST_S:
            self._count("dropped_consumer_behind")
            self._next += 1
        with self._changed:
            self._changed.wait_for(lambda: self._is_woken, max(min(-self._late_s(), timeout_s), 0.0))
            self._is_woken = False
        if self._late_s() < 0:
            return None
        frame = self._frames[self._next]
        frame.received_s = frame.time_s
        self._next += 1
        return frame

    def _late_s(self) -> float:
        return (self.now_s() or 0.0) - self._frames[self._next].time_s

    def wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def now_s(self) -> float | None:
        return None if self._start_s is None else time.perf_counter() - self._start_s

    def close(self) -> None:
        self._frames = self._frames[: self._next]
        self.wake()


@dataclass(frozen=True)
class Cost:
    """What a run took: the processor time of all threads as a share of a core, and estimator calls a second."""

    cores: float
    calls_hz: float


@dataclass(frozen=True)
class Wait:
    """How long a frame waits for its first pose, and the processor time of the loop until then, in milliseconds."""

    latency_p50_ms: float
    latency_p99_ms: float
    between_p99_ms: float  # processor time of frames with which no answer comes
    arrival_p99_ms: float  # ... and with which one does


def filmed(clip: Path, *, every: int | str) -> tuple[Shown, Cost, Wait]:
    """What a live stream with MediaPipe shows of a clip."""
    camera = ClipCamera(clip)
    shown = Shown.of(camera.count)
    loop_s: dict[bool, list[float]] = {False: [], True: []}  # by whether an answer came
    with Stream(camera, every=every, max_people=1, pictures=False) as stream, rare_collections():
        meter = _Meter()
        motions: list[Motion] = []
        newest = -1
        start_s = time.thread_time()
        for motion in stream:
            motions.append(motion)
            if motion.index > newest and not motion.final:
                newest = motion.index
                if motion.time_s > _WARM_UP_S:
                    loop_s[any(one.measured is not None and not one.final for one in motions)].append(
                        time.thread_time() - start_s
                    )
                shown.take(newest, motion.time_s, motions)
                motions = []
                start_s = time.thread_time()
        cost = meter.cost(stream.stats.estimator_calls)
        median_s, _, most_s = stream.stats.ledger.percentiles()["total_s"]
    between_s, arrival_s = (float(np.percentile(values, 99)) for values in loop_s.values())
    return shown, cost, Wait(1e3 * median_s, 1e3 * most_s, 1e3 * between_s, 1e3 * arrival_s)


def held_filmed(clip: Path) -> tuple[np.ndarray, Cost]:  # -> [F, 12, 2]
    """MediaPipe as published, as fast as it goes: the newest frame when it is free, and its newest result held."""
    camera = ClipCamera(clip)
    poses = np.full((camera.count, len(LIMBS), 2), np.nan)
    slot = _Slot()
    with dense_contender().open_dense() as estimator, camera:
        worker = threading.Thread(target=slot.work, args=(estimator,), daemon=True)
        worker.start()
        meter = _Meter()
        for frame in camera:
            if slot.newest is not None:
                poses[frame.index] = slot.newest
            slot.put(frame)
        cost = meter.cost(slot.calls)
        slot.put(None)
        worker.join()
    return poses, cost


class _Meter:
    """Processor time and calls since it was made."""

    def __init__(self) -> None:
        self._start_s, self._cpu_s = time.perf_counter(), time.process_time()

    def cost(self, calls: int) -> Cost:
        seconds = time.perf_counter() - self._start_s
        return Cost((time.process_time() - self._cpu_s) / seconds, calls / seconds)


class _Slot:
    """The newest frame, for an estimator in a thread of its own, and the newest pose that it gave."""

    def __init__(self) -> None:
        self.newest: np.ndarray | None = None  # [12, 2]
        self.calls = 0
        self._frame: Frame | None = None
        self._changed = threading.Condition()
        self._is_over = False

    def put(self, frame: Frame | None) -> None:
        """The next frame; None ends the work."""
        with self._changed:
            self._frame, self._is_over = frame, frame is None
            self._changed.notify_all()

    def work(self, estimator: Estimator) -> None:
        """What the thread does."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frame is not None or self._is_over)
                frame, self._frame = self._frame, None
            if frame is None:
                return
            people = estimator(frame.rgb, frame.time_s)
            self.calls += 1
            self.newest = people[0].pose[LIMBS] if people else None

"""Stream: any video in, Motion out. The estimator looks at the keyframes, the windows do the rest."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.estimators.estimator import Estimator
from mixsynth_stream.pipeline.estimators.mediapipe import MODELS, MediaPipeEstimator
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.keyframes import KeyframeClock
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.read_ahead import ReadAhead
from mixsynth_stream.pipeline.sources.source import FrameSource, frame_from_array
from mixsynth_stream.pipeline.sources.synthetic import SyntheticEstimator, SyntheticReader
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.pipeline.timeline import Timeline
from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, SMPL_24
from mixsynth_stream.spaces import GRID_HZ, LANDMARK_SPACES
from mixsynth_stream.weights import Model, load_model


@dataclass
class StreamStats:
    """What a stream has cost so far. `seconds` is wall-clock time by stage; `counters` what was skipped, by reason."""

    frames: int = 0
    keyframes: int = 0
    estimator_calls: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "estimator": 0.0, "network": 0.0})
    counters: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Charge the wall-clock time of a `with` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


class Stream:
    """The motion of everybody in a video, frame by frame.

    `source`: a path, a URL, "webcam", "webcam:1", "-" (standard input), "synthetic:", an iterator of (rgb, time_s), or
    None to `push` frames. `every`: N, the keyframe spacing in steps of a 30 Hz grid. `lag`: 1 gives each frame once,
    final, when the keyframe after it is known (the default for files); 0 gives each frame at once, and again when it is
    final (the default for cameras and for `push`). `estimator`: "lite", "full", "heavy", a MediaPipe bundle (.task),
    recorded estimates (.npz), an Estimator, or a callable (see `as_estimator`). `models`: an (image, world) pair of
    networks, the shipped ones by default; or one network for the rotations of SMPL, with an estimator of these. An .npz
    of rotations is a source by itself: it has the times, and no picture is needed.
    """

    def __init__(
        self,
        source: Any = None,
        *,
        every: int = 10,
        lag: int | None = None,
        horizon_s: float = 0.4,
        max_people: int = 4,
        max_silence_s: float = 1.0,
        estimator: Any = None,
        models: Sequence[Model] | Model | None = None,
        backend: str = "auto",
    ) -> None:
        if lag not in (None, 0, 1):
            raise ValueError(f"lag must be 0 or 1, found {lag!r}")
        if max_people < 1:
            raise ValueError(f"max_people must be at least 1, found {max_people!r}")
        if not 0 <= horizon_s <= 10:
            raise ValueError(f"horizon_s must lie in 0..10 seconds, found {horizon_s!r}")
        self.models: tuple[Model, ...] = _checked(models) if models else _shipped(every, backend)
        self.stats = StreamStats()
        self._last_pushed_s = -math.inf
        if estimator is None and isinstance(source, (str, os.PathLike)) and str(source).endswith(".npz"):
            source, estimator = _recorded(source)
        self._reader = None if source is None else _opened(source)
        self.info: VideoInfo | None = self._reader.info if self._reader else None
        self.live = self.info is None or self.info.live
        self.lag = lag if lag is not None else int(not self.live)
        self._estimator_is_ours = True
        try:
            self._estimator = self._make_estimator(estimator, max_people)
        except BaseException:
            if self._reader is not None:
                self._reader.close()
            raise
        self._clock = KeyframeClock(self.models[0].config.sample_interval, self.models[0].info.rate_hz)
        people = People(self.models, max_people=max_people, max_silence_s=max_silence_s)
        self._timeline = Timeline(people, lag=self.lag, horizon_s=horizon_s)
        self._due: deque[Motion] = deque()  # made, not yet handed out

    def __iter__(self) -> Iterator[Motion]:
        """Every Motion of the source. A source that breaks gives all Motions up to the break, then SourceError.

        The picture `motion.frame.rgb` of a final Motion can be had until the next one is asked for.
        """
        if self._reader is None:
            raise ValueError("this Stream has no source to iterate: give it one, or push(rgb, time_s) frames into it")
        for motion in self._motions():
            yield motion
            if motion.final and motion.frame is not None:
                motion.frame.release()

    def push(self, rgb: np.ndarray, time_s: float) -> list[Motion]:  # rgb: [H, W, 3] uint8
        """Take the next frame of a loop that you own; returns the Motions now due."""
        if self._reader is not None:
            raise ValueError("this Stream reads its own source; make a Stream() without one to push frames")
        if not time_s > self._last_pushed_s:
            raise ValueError(f"time_s must increase from frame to frame, found {time_s} after {self._last_pushed_s}")
        frame = frame_from_array(rgb, time_s, self.stats.frames)
        self._last_pushed_s = frame.time_s
        self.stats.frames += 1
        return self._take(frame)

    @property
    def skeleton(self) -> str:
        """Whose joints the Motions have: "BlazePose-33" landmarks or "SMPL-24" rotations."""
        return self._estimator.skeleton

    @property
    def now_s(self) -> float | None:
        """The present on the clock of a live source, to tell how old a Motion is; None for files and `push`."""
        return self._reader.now_s() if self._reader is not None else None

    def close(self) -> list[Motion]:
        """Release the source and the estimator; safe to call twice.

        Returns the Motions still owed: those that `push` was waiting to make final, or those of a loop that was left
        early, as they stand.
        """
        rest = self._finish() if self._reader is None else [*self._due, *self._timeline.flush()]
        self._due.clear()
        if self._reader is not None:
            self._reader.close()
        if self._estimator_is_ours:
            self._estimator.close()
        return rest

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_estimator(self, estimator: Any, max_people: int) -> Estimator:
        is_smpl = self.models[0].info.space == "rotation"
        if estimator is None or estimator in MODELS or str(estimator).endswith(".task"):
            if is_smpl:
                raise ModelError(f"no pose model here gives the rotations of {SMPL_24.name} that the network takes: "
                                 "give an estimator of them (recorded .npz, or a callable)")  # fmt: skip
            if estimator is None and isinstance(self._reader, SyntheticReader):
                return SyntheticEstimator(self._reader.scene)
            return MediaPipeEstimator(str(estimator or "full"), max_people=max_people)
        self._estimator_is_ours = False
        made, needed = as_estimator(estimator), (SMPL_24 if is_smpl else BLAZEPOSE_33).name
        if made.skeleton != needed:
            raise ModelError(f"the estimator gives {made.skeleton}, but the networks need {needed}: give weights for "
                             f"{made.skeleton}, or another estimator")  # fmt: skip
        return made

    def _motions(self) -> Iterator[Motion]:
        broken = None
        try:
            yield from self._live_loop() if self.live else self._file_loop()
        except SourceError as error:
            broken = error
        yield from self._hand_out(self._finish())
        if broken is not None:
            raise broken

    def _hand_out(self, motions: list[Motion]) -> Iterator[Motion]:
        """One by one; what a loop that is left early has not taken stays due."""
        self._due.extend(motions)
        while self._due:
            yield self._due.popleft()

    def _file_loop(self) -> Iterator[Motion]:
        """Lossless and deterministic; a file on disk is decoded a few frames ahead."""
        for frame in self._frames():
            yield from self._hand_out(self._take(frame))

    def _live_loop(self) -> Iterator[Motion]:
        """The estimator thinks in a thread of its own; frames go on meanwhile, forecast from the keyframe before."""
        asked: tuple[Frame, Future[list[Person]]] | None = None
        with ThreadPoolExecutor(1, "estimator") as thread:
            for frame in self._frames():
                if asked and asked[1].done():
                    yield from self._hand_out(self._arrived(asked[0], asked[1].result()))
                    asked = None
                if self._clock.is_due(frame.time_s):
                    self._clock.tick(frame.time_s)
                    if asked is None:
                        asked = frame, thread.submit(self._estimate, frame)
                    else:
                        self._count("keyframes_skipped_estimator_busy")
                yield from self._hand_out(self._between(frame))
            if asked:
                yield from self._hand_out(self._arrived(asked[0], asked[1].result()))

    def _take(self, frame: Frame) -> list[Motion]:
        if not self._clock.is_due(frame.time_s):
            return self._between(frame)
        self._clock.tick(frame.time_s)
        return self._arrived(frame, self._estimate(frame))

    def _finish(self) -> list[Motion]:
        """The last frame becomes a keyframe, so that every frame ends up between two."""
        last = self._timeline.last_frame
        motions = self._arrived(last, self._estimate(last)) if last else []
        return motions + self._timeline.flush()

    def _frames(self) -> Iterator[Frame]:
        assert self._reader is not None
        frames = iter(self._reader)
        while True:
            with self.stats.timed("decode"):
                frame = next(frames, None)
            self.stats.counters.update(self._reader.counters)
            if frame is None:
                return
            self.stats.frames += 1
            yield frame

    def _estimate(self, frame: Frame) -> list[Person]:
        with self.stats.timed("decode"):
            rgb = frame.rgb
        with self.stats.timed("estimator"):
            self.stats.estimator_calls += 1
            return self._estimator(rgb, frame.time_s)

    def _arrived(self, frame: Frame, people: list[Person]) -> list[Motion]:
        self.stats.keyframes += 1
        with self.stats.timed("network"):
            return self._timeline.keyframe(frame, people)

    def _between(self, frame: Frame) -> list[Motion]:
        with self.stats.timed("network"):
            return self._timeline.frame(frame)

    def _count(self, reason: str) -> None:
        self.stats.counters[reason] = self.stats.counters.get(reason, 0) + 1


def _opened(source: Any) -> FrameSource:
    reader = open_source(source)
    return ReadAhead(reader) if isinstance(reader, VideoReader) and reader.is_local else reader


def _shipped(every: int, backend: str) -> tuple[Model, Model]:
    return load_model(f"image-n{every}", backend), load_model(f"world-n{every}", backend)


def _recorded(path: Any) -> tuple[FrameSource, ArrayEstimator]:
    """Recorded rotations as a source and as its estimator; landmarks are pixels of a video, and no source."""
    try:
        estimator = ArrayEstimator(path)
    except ModelError as error:
        raise SourceError(str(error)) from error
    if estimator.skeleton != SMPL_24.name:
        raise SourceError(f"{path} holds {estimator.skeleton} in pixels of a video: give the video as the source and "
                          "the recording as its estimator (--estimates)")  # fmt: skip
    spacing_s = np.diff(estimator.time_s)
    source = open_source(estimator.frames(), rate_hz=1 / float(np.median(spacing_s)) if len(spacing_s) else GRID_HZ)
    source.info = replace(source.info, source=str(path), width=0, height=0)
    return source, estimator


def _checked(given: Sequence[Model] | Model) -> tuple[Model, ...]:
    """An image and a world network that can run side by side, or one for rotations."""
    models = tuple(given) if isinstance(given, Sequence) else (given,)
    if len(models) == 1:
        if models[0].info.space != "rotation":
            raise ModelError(f"one network for {models[0].info.space} space is not enough: give an (image, world) "
                             "pair, or one for rotations")  # fmt: skip
        models[0].expect(SMPL_24, "rotation")
        return models
    for model, space in zip(models, LANDMARK_SPACES, strict=True):
        model.expect(CORE_17, space)
    image, world = (model.config.sample_interval for model in models)
    if image != world:
        raise ModelError(
            f"both networks must have the same keyframe spacing; found N = {image} (image) and {world} (world)"
        )
    return models

"""Stream: any video in, Motion out. The estimator looks at the keyframes, the windows do the rest."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixsynth_stream.pipeline.answers import budget_of, looks_of
from mixsynth_stream.pipeline.arguments import check_numbers, chooses_keyframes, default_every, networks
from mixsynth_stream.pipeline.budget import Budget
from mixsynth_stream.pipeline.cuts import STAY_S, CutDetector
from mixsynth_stream.pipeline.engine import Engine
from mixsynth_stream.pipeline.estimators.choose import DEFAULT_EYE, is_pose_model, stream_estimator, warm_up
from mixsynth_stream.pipeline.estimators.supervised import SupervisedEstimator
from mixsynth_stream.pipeline.forecast.self_score import SelfScore
from mixsynth_stream.pipeline.frame import Frame, LivePictures, SourceEvent, VideoInfo
from mixsynth_stream.pipeline.glance.glance import Glance
from mixsynth_stream.pipeline.keyframes import KeyframeChooser, KeyframeClock
from mixsynth_stream.pipeline.ledger import Latency
from mixsynth_stream.pipeline.motion import Expected, Lookahead, Motion
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.replaying import begin_recording, go_on, replay_arguments
from mixsynth_stream.pipeline.sources.journal import Journal
from mixsynth_stream.pipeline.sources.open import is_live, open_for_stream
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.recording.replay import ReplayReader
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.sparse.plan import Needs
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.pipeline.timeline import Timeline
from mixsynth_stream.presets import AUTO
from mixsynth_stream.spaces import GRID_HZ, SPACES
from mixsynth_stream.weights import Model

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.looks import Looks
    from mixsynth_stream.pipeline.several.sharing import SharedLooks

# Closing waits no longer for an estimator that looks at a frame.
_CLOSE_S = 0.7


class Stream:
    """The motion of everybody in a video, frame by frame.

    `source`: a path, a URL, "webcam", "webcam:1", "-" (standard input), "synthetic:", an iterator of (rgb, time_s), or
    None to `push` frames. `every`: N, the keyframe spacing in steps of a 30 Hz grid (files: 10); or "auto" (the default
    for live sources and `push`), and keyframes come when the motion makes them worth it, within a `budget` of estimator
    calls a second (2 to 10; by default 3 for files, and as many as the estimator manages for live sources, which also
    take a share of a core such as "25%"). `lag`: 1 gives each frame once, final, when the keyframe after it is known
    (the default for files); 0 gives each frame at once, and again when it is final (the default for cameras and for
    `push`). `estimator`: "lite", "full", "heavy", these with "-official" (as published), a MediaPipe bundle (.task),
    recorded estimates (.npz, .json, a folder), an Estimator, or a callable (see `as_estimator`), of any skeleton in
    `LANDMARKS`. `models`: an (image, world) pair of networks, the shipped ones by default; or one network for rotations
    of SMPL, with an estimator of these, whose .npz is a source without pictures. `cuts`: people end where the video
    cuts to another scene; False follows them across. `glance`: people are followed in the picture between keyframes,
    which gives better poses there, for up to a millisecond of one core a frame and person; by default in live sources,
    while it takes little time. `pictures`: whether you read `motion.frame.rgb`; without, and without glances, files are
    decoded only as far as the keyframes need, for the same Motions, and what you read after all comes late. `smooth`:
    at lag 0 a pose that an answer of the estimator corrects goes over to the new one within 80 ms where it would jump;
    False shows it at once. `record`: a new folder for all that comes of a live source, which `Stream.replay` plays
    again.

    Three attributes may be functions. Two are called in the loop, and end it with what they raise: `on_event`, when a
    live source is lost, is back, or has pictures of another size from there on, and `on_wait`, about twice a second
    while it gives nothing. `release` gives a context for each wait, for the source or for the estimator: who holds
    signals while a Motion is made and taken lets them through there, and loses none.
    """

    on_event: Callable[[SourceEvent], None] | None = None
    on_wait: Callable[[], None] | None = None
    release: Callable[[], AbstractContextManager[None]] = nullcontext
    _loop: Generator[Motion, None, None] | None = None
    _source_error: Exception | None = None  # that ended the source
    _last_pushed_s = -math.inf
    _is_led = False  # whether it is one of several
    # A live source that gives nothing is asked again after so long, so that an estimator that hangs is noticed.
    _patience_s = 0.5
    # Glances end where they take more than this share of a core.
    _glance_share = 0.25

    def __init__(
        self,
        source: Any = None,
        *,
        every: int | str | None = None,
        budget: float | str | None = None,
        lag: int | None = None,
        horizon_s: float = 0.4,
        max_people: int = 4,
        max_silence_s: float = 1.0,
        estimator: Any = None,
        eye: str = DEFAULT_EYE,
        models: Sequence[Model] | Model | None = None,
        backend: str = "auto",
        cuts: bool = True,
        glance: bool | None = None,
        pictures: bool = True,
        smooth: bool = True,
        record: str | Path | None = None,
    ) -> None:
        check_numbers(lag, max_people, horizon_s)
        self.stats = StreamStats()
        self._open(source, estimator, record)
        self.lag = lag if lag is not None else int(not self.live)
        try:
            every = default_every(models, glance, live=self.live) if every is None else every
            is_auto = chooses_keyframes(every, budget, glance)
            self.models = networks(models, every, backend)
            self.every: int | str = AUTO if is_auto else self.models[0].config.sample_interval
            self._budget = budget_of(self._journal, Budget.of(budget, live=self.live)) if is_auto else None
            self._supervisor = self._supervised(estimator, max_people=max_people, eye=eye)
            numbers = {"lag": lag, "horizon_s": horizon_s, "max_people": max_people, "max_silence_s": max_silence_s}
            choices = {"every": every, "budget": budget, "cuts": cuts, "glance": glance, "pictures": pictures}
            arguments = numbers | choices | {"smooth": smooth}
            begin_recording(self._journal, self.models, self._supervisor, estimator, arguments, is_led=self._is_led)
        except BaseException:
            if self._reader is not None:
                self._reader.close()
            raise
        spacing = self.models[0].config.sample_interval, self.models[0].info.rate_hz
        people = People(self.models, self.skeleton, max_people=max_people, max_silence_s=max_silence_s)
        glances = self._glance(glance)
        self.has_glance, self.score = glances is not None, (score := self._own_score(acts=is_auto))
        self._timeline = Timeline(people, lag=self.lag, horizon_s=horizon_s, glance=glances, score=score, smooth=smooth)
        self._looks = self._new_looks()
        if self._reader is not None and not pictures and glances is None:
            self._reader.read_sparsely(Needs(KeyframeClock(*spacing), STAY_S if cuts else None))
        self._engine = Engine(
            self._supervisor,
            self._looks,
            self._timeline,
            KeyframeClock(*spacing) if self._budget is None else KeyframeChooser(self._budget.calls_hz),
            self.stats,
            budget=self._budget,
            cuts=CutDetector() if cuts else None,
            pictures=LivePictures(are_read=pictures, are_shown=self._journal.is_replay),
            on_scene=self._reader.restart_needs if self._reader else lambda _: None,
            release=lambda: self.release(),  # noqa: PLW0108, because users set it later
        )
        self._due: deque[Motion] = deque()  # Motions that wait to be handed out

    @classmethod
    def replay(cls, folder: str | Path, *, is_paced: bool = False) -> Stream:
        """The Stream of a recording once more, with its arguments: the same Motions, and no estimator is asked.

        It goes as fast as it can, or at its own pace where it `is_paced`. Raises `SourceError`.
        """
        reader = ReplayReader(Path(folder), is_paced=is_paced)
        return cls(reader, **replay_arguments(Path(folder), reader.header))

    def __iter__(self) -> Iterator[Motion]:
        """Every Motion of the source. A source that breaks gives all Motions up to the break, then its error.

        The picture `motion.frame.rgb` of a final Motion is released when the loop goes on to the next one.
        """
        if self._reader is None:
            raise ValueError("this Stream has no source to iterate: give it one, or push(rgb, time_s) frames into it")
        for motion in self._motions():
            yield motion
            if motion.final and motion.frame is not None:
                motion.frame.release()

    def push(
        self,
        rgb: np.ndarray,  # [H, W, 3] uint8
        time_s: float,
        *,
        wait: bool = False,
        answer_s: float | None = None,
    ) -> list[Motion]:
        """Take the next frame of a loop that you own; returns the Motions that are due, at lag 0 its own one last.

        The estimator looks at it meanwhile. With `wait` it has looked when this returns, so that the Motions do not
        depend on how fast it is. With `answer_s` each look counts from so many seconds of the stream's time after its
        frame on, whatever it takes: a simulation of a live estimator, which gives the same Motions each time.
        """
        if self._reader is not None:
            raise ValueError("this Stream reads its own source; make a Stream() without one to push frames")
        if not isinstance(time_s, Real) or not self._last_pushed_s < time_s < math.inf:
            raise ValueError(
                f"time_s must be finite seconds that increase from frame to frame, found {time_s!r} after "
                f"{self._last_pushed_s}"
            )
        frame = frame_from_array(rgb, time_s, self.stats.frames, is_kept=not wait)
        self._last_pushed_s = frame.time_s
        self.stats.frames += 1
        if wait:
            self._due.extend(self._engine.last_looks())
            self._due.extend(self._engine.wait_for(frame))
        else:
            motions = self._engine.go_on(frame, None if answer_s is None else frame.time_s - answer_s)
            self._due.extend(self._engine.finals() + motions)
        error, self._supervisor.error = self._supervisor.error, None
        if error is not None:
            raise error  # what is due comes with the next frame
        motions, self._due = list(self._due), deque()
        return motions

    def at(self, time_s: float) -> Expected:
        """Everybody at any time: that of now or ahead, or since the keyframe before the last. In any thread.

        This is for displays and robots with a pace of their own. Poses are in pixels of the newest frame.
        """
        return self._timeline.at(time_s)

    def lookahead(self, count: int, dt_s: float = 1 / GRID_HZ, *, start_s: float | None = None) -> Lookahead:
        """Everybody at the `count` times `start_s` + `dt_s`, + 2 `dt_s`, ..., for robots and displays. In any thread.

        `start_s` is now, where the source has a clock, else the time of the newest frame. Returns for P people and F
        times: `ids` [P]; `time_s` [F] seconds; `poses` [P, F, J, 2] pixels of the newest frame, and `sigma` [P, F, J]
        pixels; `world` [P, F, J, 3] metres from the middle of the hips, and `world_sigma` [P, F, J] metres; `scores`
        [P, F, J] 0..1; `origin` [P, F, J]: FORECAST or TRACKED, and HELD past the horizon of the weights (N + 18
        steps of 1/30 s after the newest keyframe), where sigma goes on growing. Rotations of SMPL are in `rotations`
        [P, F, 24, 6], without sigma. P is 0 before anybody was seen. Raises `ValueError`.
        """
        if count < 1 or not 0 < dt_s < math.inf:
            raise ValueError(f"lookahead takes 1 time or more and a positive step, found {count} and {dt_s}")
        start_s = next(moment for moment in (start_s, self.now_s, self._timeline.newest_s) if moment is not None)
        return self._timeline.ahead(start_s + dt_s * np.arange(1, count + 1))

    @property
    def skeleton(self) -> str:
        """Whose joints the Motions have: "BlazePose-33", another one of `LANDMARKS`, or "SMPL-24" rotations."""
        return self._supervisor.estimator.skeleton

    @property
    def budget(self) -> str | None:
        """The budget in words, where keyframes are chosen."""
        return None if self._budget is None else str(self._budget)

    @property
    def now_s(self) -> float | None:
        """The present on the clock of a live source, which shows how old a Motion is; None for files and `push`."""
        return self._reader.now_s() if self._reader is not None else None

    def close(self) -> list[Motion]:
        """Release the source, and an estimator that this Stream made; safe to call twice.

        Returns the Motions not handed out yet. With `push` the last frame becomes a keyframe first; after a loop that
        was left early they come as they stand.
        """
        if self._loop is not None:
            with suppress(ValueError):  # another thread is inside the loop
                self._loop.close()  # it waits for an estimator that looks at a frame
        motions, self._due = list(self._due), deque()
        if self._reader is None:
            motions += [*self._engine.last_looks(_CLOSE_S), *self._engine.last_motions()]
        else:
            motions += self._timeline.flush()
            self._reader.close()
            self.stats.counters.update(self._reader.counters)
        if self._looks.close(_CLOSE_S):
            self._supervisor.close()
        return motions

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, source: Any, estimator: Any, record: str | Path | None) -> None:
        """Open the source, if there is one. What a pose model needs is imported while a camera opens."""
        if record is not None and source is None:
            raise ValueError("record is for live sources, and pushed frames have none: leave it out")
        if isinstance(source, str) and is_live(source):
            warm_up(estimator)
        self._reader: FrameSource | None = None
        if source is not None:
            folder = None if record is None else Path(record)
            self._reader = open_for_stream(source, has_estimator=estimator is not None, record=folder)
        self._journal = self._reader.journal if self._reader else Journal()
        self.info: VideoInfo | None = self._reader.info if self._reader else None
        self.live = self.info is None or self.info.live

    def _wake(self) -> None:
        """A look has ended: the loop goes on, whether there is a frame or not."""
        if self._reader is not None:
            self._reader.wake()

    def _supervised(self, choice: Any, **options: Any) -> SupervisedEstimator:
        """The estimator that the user means, which may fail without ending the stream."""
        own = self._reader.estimator if self._reader else None
        skeleton = SPACES[self.models[0].info.space].skeleton.name
        is_camera = self._reader is not None and self.live
        make = partial(stream_estimator, choice, own, skeleton, **options)
        return SupervisedEstimator(make, self.stats, is_own=is_pose_model(choice), is_live=is_camera)

    def _new_looks(self) -> Looks | SharedLooks:
        """Where the estimator works."""
        return looks_of(self._journal, self.stats, renew=self._supervisor.renew, on_end=self._wake)

    def _own_score(self, *, acts: bool) -> SelfScore | None:
        """Forecasts of live poses are judged by the keyframes that come; None for files and rotations."""
        return SelfScore(acts=acts) if self.live and self.models[0].info.space == "image" else None

    def _glance(self, request: bool | None) -> Glance | None:
        """By default people are followed between keyframes in live sources, where the pose of now counts."""
        by_default = self.live or self._budget is not None
        if self.models[0].info.space != "image" or not (by_default if request is None else request):
            return None
        return Glance(self._glance_share if request is None and self.live else None, self.stats, self._journal)

    def _motions(self) -> Iterator[Motion]:
        self._loop = self._live_loop() if self.live else self._file_loop()
        yield from self._loop
        # Where nothing worked, nothing of a file comes out: it would take the place of an earlier run's results.
        if self._supervisor.error is None or self.stats.keyframes or self.live:
            yield from self._hand_out(self._engine.last_motions())
        error = self._supervisor.error or self._source_error
        if error is not None:
            raise error

    def _hand_out(self, motions: list[Motion]) -> Iterator[Motion]:
        """Hand out one by one. Where the user's loop is left early, the others stay due."""
        self._due.extend(motions)
        while self._due:
            yield self._due.popleft()

    def _file_loop(self) -> Generator[Motion, None, None]:
        """Lossless and deterministic; a file on disk is decoded a few frames ahead."""
        for frame in self._frames():
            if frame is not None:
                motions = self._engine.wait_for(frame)
                if self._supervisor.error is None or self.stats.keyframes:
                    yield from self._hand_out(motions)
            if self._supervisor.error is not None:
                return

    def _live_loop(self) -> Generator[Motion, None, None]:
        """The estimator works in a thread of its own. Frames go on meanwhile, forecast from the keyframe before."""
        assert self._reader is not None
        with self._looks:
            for frame in self._frames():
                read_s = self._journal.ask("now", self._reader.now_s)
                motions = go_on(self._engine, self._journal, frame)
                self._journal.check(motions)
                yield from self._hand_out(motions if frame is None else self._timed(motions, frame, read_s))
                if self._supervisor.error is not None:
                    return
                if frame is not None:
                    self._add_finals()
                    yield from self._hand_out([])
                elif self.on_wait is not None:
                    self.on_wait()
            yield from self._hand_out(self._engine.last_looks())

    def _add_finals(self) -> None:
        """Finals that wait are due, now that a frame of now is out: a few, or all beside others, which costs less."""
        is_alone = not (self._is_led or self._journal.is_led)
        finals = self._engine.finals() if is_alone else self._engine.all_finals()
        self._journal.check_later(finals)
        self._due.extend(finals)

    def _timed(self, motions: list[Motion], frame: Frame, read_s: float | None) -> list[Motion]:
        """The Motions, of which a live frame's first one has its way in the ledger."""
        assert self._reader is not None
        now_s = self._journal.ask("now", self._reader.now_s)
        latency = Latency.of(frame, read_s=read_s, now_s=now_s, look_s=self._timeline.keyframe_s)
        if latency is None or all(motion.frame is not frame for motion in motions):  # as with lag 1
            return motions
        self.stats.ledger.add(latency)
        return [replace(motion, latency=latency) if motion.frame is frame else motion for motion in motions]

    def _frames(self) -> Iterator[Frame | None]:
        """The frames of the source up to its end, or to the error that broke it. What happens to it is told before.

        None where a live source has none yet, and a look has ended or some time has passed.
        """
        assert self._reader is not None
        while True:
            with self.stats.timed("decode"):
                try:
                    with self.release():
                        frame = self._reader.read(self._patience_s)
                except StopIteration:
                    break
                except Exception as error:  # the user's own iterator may raise anything
                    self._source_error = error
                    break
            for event in self._reader.events_before(frame):
                if self.on_event is not None:
                    self.on_event(event)
            self.stats.counters.update(self._reader.counters)
            self.stats.frames += frame is not None
            yield frame
        self.stats.counters.update(self._reader.counters)

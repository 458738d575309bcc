"""Engine: frames in, Motions out. Which frames the estimator looks at, and what follows from what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mixsynth_stream.pipeline.budget import Budget
from mixsynth_stream.pipeline.cuts import Cut, CutDetector
from mixsynth_stream.pipeline.estimators.keypoint_files import KeypointFiles
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.estimators.supervised import SupervisedEstimator
from mixsynth_stream.pipeline.frame import Frame, LivePictures
from mixsynth_stream.pipeline.keyframes import KeyframeChooser, KeyframeClock
from mixsynth_stream.pipeline.looks import LOOK_LIMIT_S, HangsError, Look, Looks
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.sources.recording.replay import ReplayEstimator
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.pipeline.steps import Steps, completed, result_of
from mixsynth_stream.pipeline.timeline import Timeline

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.several.sharing import SharedLooks


class Engine:
    """Takes the frames of a stream in order: `go_on` waits for no estimator, `wait_for` does where one looks.

    Keyframes come by `clock`, or by a KeyframeChooser within a `budget`. `on_scene` is told when a new scene begins,
    and `release` is a context for waiting.
    """

    def __init__(
        self,
        supervisor: SupervisedEstimator,
        looks: Looks | SharedLooks,
        timeline: Timeline,
        clock: KeyframeClock | KeyframeChooser,
        stats: StreamStats,
        *,
        budget: Budget | None,
        cuts: CutDetector | None,
        pictures: LivePictures,
        on_scene: Callable[[float], None],
        release: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._supervisor = supervisor
        self._looks = looks
        self._timeline = timeline
        self._clock = clock
        self._chooser = clock if isinstance(clock, KeyframeChooser) else None
        self._stats = stats
        self._budget = budget
        self._cuts = cuts
        self._pictures = pictures
        self._on_scene = on_scene
        self._release = release
        self.due: Frame | None = None  # the newest frame, where the estimator is to look at it

    def go_on(self, frame: Frame | None, seen_s: float | None = None) -> list[Motion]:
        """Take a frame, if there is one, and the looks that have ended, and wait for nothing.

        With `seen_s` the looks at frames up to that time count, and no other: they are waited for. Finals wait for
        `finals`, and come where nothing else does.
        """
        looks = self._looks.ended() if seen_s is None else self._looks.until(seen_s)
        motions = self._completed(self.answers(looks))
        if self._supervisor.error is not None:
            return motions
        if frame is None:
            return motions if looks else self.all_finals()
        self.consider(frame)
        if self.due is not None:
            self.begin_look()
        return motions + self.go_past(frame)

    def finals(self) -> list[Motion]:
        """The next few finals, once a frame of now is out: the loop is soon free for the frame after it."""
        with self._stats.timed("network"):
            return self._timeline.some_finals()

    def all_finals(self) -> list[Motion]:
        """All finals that wait, where no frame does."""
        with self._stats.timed("network"):
            return self._timeline.finals()

    def repeat(self, kind: str | None, frame: Frame | None) -> list[Motion]:
        """Do again what a stream that is led did in a turn: take a frame, or a step of this kind.

        "answers": take what the looks that have ended lead to. "look": begin the one that is due. "last": begin that at
        the last frame. None without a frame: give the finals that wait.
        """
        if kind == "answers":
            return self._completed(self.answers(self._looks.ended()), refuses=False)
        if kind == "look":
            self.begin_look()
        elif kind == "last":
            self.begin_last_look()
        if frame is None:
            return [] if kind else self.all_finals()
        self.consider(frame)
        return self.go_past(frame)

    def answers(self, looks: Iterable[Look]) -> Iterator[Steps[list[Motion]]]:
        """What looks that have ended lead to. One that failed leads to nothing, and many in a row end the stream.

        Each is to be completed before the next is taken.
        """
        for look in looks:
            if look.error is not None:
                self._supervisor.failed(look.error, look.frame, hangs=isinstance(look.error, HangsError))
            else:
                self._supervisor.answered()
                yield self._keyframe(look.frame, look.people or [])

    def go_past(self, frame: Frame) -> list[Motion]:
        """Take the newest frame as one that no estimator has looked at, and let go of what waits for too long."""
        motions = self._between_keyframes(frame)
        self._pictures.let_go(frame, self._looks.frames)
        return motions + self._timeline.settle(self._pictures.waiting_s)

    def last_looks(self, patience_s: float = LOOK_LIMIT_S) -> list[Motion]:
        """Wait for the looks that have begun."""
        with self._release():
            looks = self._looks.last(patience_s)
        return self._completed(self.answers(looks))

    def _completed(self, answers: Iterable[Steps[list[Motion]]], *, refuses: bool = True) -> list[Motion]:
        """What answers lead to, one after another. A keyframe that is refused raises ValueError, or ends the stream."""
        motions = []
        for steps in answers:
            try:
                with self._stats.timed("network"):
                    motions += completed(steps)
            except ValueError as error:
                if refuses:
                    raise
                self._supervisor.error = error
        return motions

    def consider(self, frame: Frame) -> None:
        """Take the newest frame: `due` is set to it where the estimator is to look at it. Looks at cuts begin here."""
        looks = self._looks
        cut = self._cut_at(frame)
        if cut is not None:
            # Where scenes change faster than the estimator answers, what it has not begun is left out.
            skipped = len(looks.cancel())
            self._stats.count("keyframes_skipped_estimator_busy", skipped)
            before = self._new_scene(cut)
            if before is not None and not skipped and all(one.time_s < before.time_s for one in looks.frames):
                looks.begin(before, self._supervisor.look(before, self._timeline.expected))
            looks.begin(cut.first, self._supervisor.look(cut.first, self._timeline.expected, is_new_scene=True))
        self.due = None
        is_busy = looks.is_busy
        if (is_busy and self._budget is not None) or not self._is_due(frame):  # a look is chosen when it is possible
            return
        if is_busy:
            self._clock.tick(frame.time_s)
            self._stats.count("keyframes_skipped_estimator_busy")
        else:
            self.due = frame

    def begin_look(self) -> None:
        """Begin the look that is due."""
        frame, self.due = self.due, None
        assert frame is not None
        self._clock.tick(frame.time_s)
        self._looks.begin(frame, self._supervisor.look(frame, self._timeline.expected))

    def begin_last_look(self) -> None:
        """Begin a look at the last frame, unless there is one, so that every frame lies between two keyframes."""
        last = self._timeline.last_frame
        if last is not None and not (self._looks.is_busy and last in self._looks.frames):
            self._looks.begin(last, self._supervisor.look(last, self._timeline.expected))

    def need(self) -> float:
        """How much the look that is due is needed. Of several streams, the one that needs most comes first."""
        assert self.due is not None
        return self._clock.need(self.due.time_s)

    def _look(self, frame: Frame, *, is_new_scene: bool = False) -> list[Motion] | None:
        """Look at a frame, and wait for the answer. None where the estimator fails."""
        try:
            call = self._supervisor.look(frame, self._timeline.expected, is_new_scene=is_new_scene)
            with self._release():
                people = self._looks.now(frame, call)
        except Exception as error:  # a user's estimator may raise anything
            self._supervisor.failed(error, frame)
            return None
        self._supervisor.answered()
        return self._completed([self._keyframe(frame, people)])

    def wait_for(self, frame: Frame) -> list[Motion]:
        """Take a frame, and wait for the estimator where it is a keyframe."""
        motions = self._cut_motions(self._cut_at(frame))
        looked = None
        if self._is_due(frame):
            self._clock.tick(frame.time_s)
            looked = self._look(frame)
        motions += self._between_keyframes(frame) if looked is None else looked
        return self.all_finals() + motions  # who waited for the estimator gets them in order, the newest frame last

    def _is_due(self, frame: Frame) -> bool:
        """Whether a frame is a keyframe. One that may be the first of a new scene waits for the judgement."""
        if self._budget is not None and self._chooser is not None:
            self._chooser.calls_hz = self._budget.hz(self._stats.seconds["estimator"], self._stats.estimator_calls)
            with self._stats.timed("network"):
                self._chooser.see(frame.time_s, self._timeline.error(frame))
        return self._clock.is_due(frame.time_s) and not (self._cuts is not None and self._cuts.judging)

    def _cut_at(self, frame: Frame) -> Cut | None:
        """The cut that is sure with this frame. It lies a few frames before it."""
        if self._cuts is None:
            return None
        with self._stats.timed("decode"):
            cut = self._cuts.push(frame, is_read=self._clock.is_due(frame.time_s))
        estimator = self._supervisor.estimator
        if cut is not None and isinstance(estimator, ArrayEstimator | KeypointFiles | ReplayEstimator):
            # A recording of the keyframes that a cut would move has no others.
            return cut if estimator.covers(cut.first.time_s - cut.before.time_s) else None
        return cut

    def _new_scene(self, cut: Cut) -> Frame | None:
        """Begin a scene with a fresh clock. Returns the frame before it if the estimator has to look at it."""
        self._clock.restart(cut.first.time_s)
        self._on_scene(cut.first.time_s)
        return self._timeline.cut(cut)

    def _cut_motions(self, cut: Cut | None) -> list[Motion]:
        """The frames on both sides of a cut become keyframes, so that no pose is blended across it."""
        if cut is None:
            return []
        before = self._new_scene(cut)
        motions = [] if before is None else self._look(before) or []
        return motions + (self._look(cut.first, is_new_scene=True) or [])

    def last_motions(self) -> list[Motion]:
        """Make the last frame a keyframe, so that every frame lies between two, and end the timeline."""
        if self._supervisor.error is not None or self._looks.is_busy:
            return self._timeline.flush()  # nobody can look at it
        motions = [] if self._cuts is None else self._cut_motions(self._cuts.close())
        last = self._timeline.last_frame
        motions += (self._look(last) or []) if last else []
        return motions + self._timeline.flush()

    def _keyframe(self, frame: Frame, people: list[Person]) -> Steps[list[Motion]]:
        self._stats.keyframes += 1
        steps = self._timeline.looking(frame, people)
        with self._stats.timed("network"):
            keyframes = next(steps)
        yield keyframes  # several streams may share the call of the network, which others time
        with self._stats.timed("network"):
            motions = result_of(steps)
        if self._chooser is not None and self._timeline.has_news:
            self._chooser.hurry()
        if self._timeline.cuts:
            self._stats.counters["scene_cuts"] = self._timeline.cuts
        return motions

    def _between_keyframes(self, frame: Frame) -> list[Motion]:
        with self._stats.timed("network"):
            return self._timeline.frame(frame)

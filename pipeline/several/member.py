"""Member: the stream of one live source beside others. It waits for nothing, and its estimator serves them all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from mixsynth_stream.pipeline.answers import kept
from mixsynth_stream.pipeline.estimators.supervised import SupervisedEstimator
from mixsynth_stream.pipeline.looks import Looks
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.pipeline.several.sharing import SharedEstimator, SharedLooks
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.steps import Steps
from mixsynth_stream.pipeline.stream import Stream


class Member(Stream):
    """The Stream of one of several sources, which `Streams` leads: `take_frame`, `answers` and `begin_look` in turn."""

    _patience_s = 0.0
    _is_led = True

    def __init__(
        self,
        number: int,
        reader: FrameSource,
        looks: Looks,
        estimator: SharedEstimator,
        *,
        glance_share: float,
        **options: Any,  # those of a Stream
    ) -> None:
        self._number = number
        self._shared_looks = SharedLooks(looks)
        self._shared_estimator = estimator
        self._glance_share = glance_share
        self.reader = reader
        super().__init__(reader, estimator=estimator.choice_of(number), **options)
        self._coming = self._frames()
        self._is_ending = False
        self._frames_before = 0
        self._answered: list[Motion] = []  # what the newest answers have led to
        self.is_over = False  # whether all Motions are out

    @property
    def failure(self) -> Exception | None:
        """What has ended this stream before its time."""
        return self._supervisor.error or self._source_error

    @property
    def has_ended(self) -> bool:
        """Whether no other frame comes, and all looks are taken."""
        return self._supervisor.error is not None or (self._is_ending and not self._shared_looks.is_busy)

    def take_frame(self) -> bool:
        """Take the next frame, if the source has one. False where it has none."""
        if self._is_ending or self._supervisor.error is not None:
            return False
        try:
            frame = next(self._coming)
        except StopIteration:
            self._is_ending = True
            self._journal.step("last")
            self._engine.begin_last_look()
            self._journal.check([])
            return False
        read_s = self._journal.ask("now", self.reader.now_s)
        if frame is None:
            motions = self._engine.all_finals()
            self._journal.check(motions)
            self._due.extend(motions)
            return False
        self._engine.consider(frame)
        motions = self._engine.go_past(frame)
        self._journal.check(motions)
        self._due.extend(self._timed(motions, frame, read_s))
        return True

    def add_finals(self) -> None:
        """The finals that wait are due, now that the frame that was taken is out."""
        self._add_finals()

    def answers(self) -> Iterator[Steps[list[Motion]]]:
        """What the looks that have ended lead to; each is to be completed before the next is taken."""
        if not self._shared_looks.has_ended:
            return
        self._journal.step("answers")
        self._answered.clear()
        yield from self._engine.answers(self._looks.ended())
        self._journal.check(self._answered)

    def take(self, motions: list[Motion]) -> None:
        """What an answer has led to."""
        self._answered += motions
        self._due.extend(motions)

    @property
    def need(self) -> float | None:
        """How much a look is needed here; None where none is due."""
        is_over = self._is_ending or self._supervisor.error is not None
        return None if self._engine.due is None or is_over else self._engine.need()

    def begin_look(self) -> None:
        """Begin the look that is due."""
        self._journal.step("look")
        self._engine.begin_look()
        self._journal.check([])

    def fail(self, error: Exception) -> None:
        """End the stream with an error."""
        self._supervisor.error = error

    def is_silent(self) -> bool:
        """Whether no frame has come since this was last asked."""
        before, self._frames_before = self._frames_before, self.stats.frames
        return before == self._frames_before

    def due(self) -> Iterator[Motion]:
        """Take the Motions that are due, one by one. Where the user's loop is left early, the others stay due."""
        return self._hand_out([])

    def renew(self) -> None:
        """The next look is with a new estimator."""
        self._supervisor.renew()

    def stop(self) -> threading.Thread:
        """End the source, which may take a while, in the thread that is returned."""
        closing = threading.Thread(target=self.reader.close, name="close", daemon=True)
        closing.start()
        return closing

    def end(self) -> None:
        """End the stream: every frame that is not final becomes so, as it stands."""
        self.is_over = True
        self._looks.close()
        self.reader.end()
        self.stats.counters.update(self.reader.counters)
        self._due.extend(self._timeline.flush())

    def _new_looks(self) -> Looks | SharedLooks:
        return kept(self._journal, self._shared_looks)

    def _supervised(self, choice: Any, **_: Any) -> SupervisedEstimator:
        make = partial(self._shared_estimator.of_stream, self._number)
        return SupervisedEstimator(make, self.stats, is_own=self._shared_estimator.is_own, is_live=True)

"""SupervisedEstimator: the estimator of a stream, which may fail or hang without ending the stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mixsynth_stream.errors import ModelError
from mixsynth_stream.memory import give_memory_back
from mixsynth_stream.pipeline.estimators.estimator import Estimator, follows
from mixsynth_stream.pipeline.estimators.keypoint_files import KeypointFiles
from mixsynth_stream.pipeline.motion import Expected, Person

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.stats import StreamStats

logger = logging.getLogger(__name__)

# So many looks in a row may fail before a stream ends that has seen others succeed, or that is live.
MOST_FAILURES = 10
# Pictures come and go in many threads, and memory would grow for an hour. Giving it back takes some milliseconds.
_TRIM_EVERY_S = 60.0


class SupervisedEstimator:
    """Looks at frames with the estimator that `make` gives, counts its failures, and replaces it where it hangs.

    `error` is what the stream has to end with. `is_own`: whether it is closed here, and can be made anew.
    """

    def __init__(self, make: Callable[[], Estimator], stats: StreamStats, *, is_own: bool, is_live: bool) -> None:
        self.error: Exception | None = None
        self.estimator = make()
        self._make = make
        self._stats = stats
        self._is_own = is_own
        self._is_worn_out = False  # whether it hangs, and the next look is with a new one
        self._hanging: list[Estimator] = []  # given up, in calls that may return one day
        self._trimmed_s = time.perf_counter()
        self._may_recover = is_live
        self._failures = 0  # in a row

    def look(
        self,
        frame: Frame,
        expect: Callable[[Frame], Expected],
        *,
        is_new_scene: bool = False,
    ) -> Callable[[], list[Person]]:
        """A look at a frame, to be called now or in another thread. `expect` is asked now, if the estimator follows."""
        is_told = follows(self.estimator) and not is_new_scene
        return partial(self._look, frame, {"expected": expect(frame)} if is_told else {}, is_new_scene)

    def _look(self, frame: Frame, expectation: dict[str, Expected], is_new_scene: bool) -> list[Person]:
        if isinstance(self.estimator, KeypointFiles):
            self._stats.estimator_calls += 1
            return self.estimator.of_frame(frame.index)
        with self._stats.timed("decode"):
            rgb = frame.rgb
        with self._stats.timed("estimator"):
            if self._is_worn_out:
                self.estimator, self._is_worn_out = self._make(), False
            estimator = self.estimator
            self._stats.estimator_calls += 1
            try:
                if is_new_scene:
                    estimator.forget()
                return estimator(rgb, frame.time_s, **expectation)
            finally:
                self._trim()
                if any(estimator is other for other in self._hanging):
                    self._hanging = [other for other in self._hanging if other is not estimator]
                    estimator.close()  # its networks take 100 MB and six threads

    def _trim(self) -> None:
        """Give memory back now and then, where nobody waits for it but a look."""
        if time.perf_counter() - self._trimmed_s > _TRIM_EVERY_S:
            self._trimmed_s = time.perf_counter()
            give_memory_back()

    def answered(self) -> None:
        """A look gave people, or nobody."""
        self._failures, self._may_recover = 0, True

    def failed(self, error: Exception, frame: Frame, *, hangs: bool = False) -> None:
        """Count a look that failed, or that was given up because the estimator `hangs`.

        What is wrong in itself, or again and again, becomes `error`.
        """
        self._failures += 1
        self._stats.count("estimator_hung" if hangs else "estimator_failed")
        if isinstance(error, ModelError) or not self._may_recover:
            self.error = error
        elif self._failures >= MOST_FAILURES:
            self.error = ModelError(
                f"the estimator failed {self._failures} times in a row, the last time at {frame.time_s:.3f} s with "
                f"{error!r}: mend it, or give another one"
            )
            self.error.__cause__ = error
        elif self._failures == 1:
            logger.warning("the estimator failed at %.3f s (%r): going on without that look", frame.time_s, error)

    def renew(self) -> bool:
        """Give up an estimator that hangs, for a new one with the next look. That of a user cannot be made anew."""
        if self._is_own:
            self._is_worn_out = True
            self._hanging = [*self._hanging, self.estimator]
        return self._is_own

    def close(self) -> None:
        """Free the estimator, unless it is the user's."""
        if self._is_own:
            self.estimator.close()

"""Looks: an estimator at work in a thread of its own, so that frames go on while it looks at one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass

from mixsynth_stream.pipeline.estimators.later import ANSWER_LIMIT_S
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.motion import Person

# An estimator that has not answered after so long hangs. A future is given up before that.
LOOK_LIMIT_S = ANSWER_LIMIT_S + 0.5
_SAME_TIME_S = 1e-6


class HangsError(TimeoutError):
    """An estimator has not answered in time. One that raises TimeoutError itself has."""


@dataclass(eq=False)
class Look:
    """One frame that the estimator looks at, and what came of it."""

    frame: Frame
    call: Callable[[], list[Person]]
    begun_s: float | None = None  # on the clock of `time.perf_counter`
    ended_s: float | None = None
    people: list[Person] | None = None  # None: not yet, or never
    error: Exception | None = None  # HangsError: it was given up
    is_left_out: bool = False  # it was cancelled before it began

    @property
    def has_ended(self) -> bool:
        """Whether there is anything to take."""
        return self.people is not None or self.error is not None


class Looks:
    """Looks in the order in which they begin, one at a time. `on_end` is called, in the thread, after each.

    One that takes longer than `limit_s` is given up: it ends with a HangsError, and its thread is left alone. Where
    `renew` then gives a new estimator (it returns True), the next look has a new thread; where it does not, looks wait
    until the old call returns. All methods are for one thread, and `close` for any.
    """

    def __init__(
        self,
        *,
        limit_s: float = LOOK_LIMIT_S,
        renew: Callable[[], bool] = lambda: False,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit_s = limit_s
        self._renew = renew
        self._on_end = on_end
        self._looks: deque[Look] = deque()  # the first is the oldest that nobody has taken yet
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None  # the one that works; others were left alone
        self._hanging: threading.Thread | None = None  # it holds the only estimator
        self._is_closed = False

    def begin(self, frame: Frame, call: Callable[[], list[Person]]) -> Look:
        """Look at a frame as soon as the looks before it have ended."""
        look = Look(frame, call)
        with self._changed:
            self._looks.append(look)
            if self._thread is None and not self._is_closed:
                # A thread that hangs must not keep the program from ending.
                self._thread = threading.Thread(target=self._work, name="estimator", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return look

    @property
    def is_busy(self) -> bool:
        """Whether a look that begins now would have to wait."""
        self._look_after()
        return bool(self._looks) or self._hangs()

    @property
    def is_working(self) -> bool:
        """Whether a look that begins now would have to wait. Looks that have ended and were not taken do not count."""
        self._look_after()
        with self._changed:
            return any(not look.has_ended for look in self._looks) or self._hangs()

    @property
    def frames(self) -> list[Frame]:
        """The frames whose pictures are still needed, in order."""
        with self._changed:
            return [look.frame for look in self._looks]

    def ended(self) -> list[Look]:
        """Take the looks that have ended, in order."""
        self._look_after()
        ended = []
        with self._changed:
            while self._looks and self._looks[0].has_ended:
                ended.append(self._looks.popleft())
        return ended

    def until(self, time_s: float) -> list[Look]:
        """Wait for the looks at frames up to a time, and take these, whether or not others have ended."""
        ended = []
        while self._looks and self._looks[0].frame.time_s <= time_s + _SAME_TIME_S and not self._hangs():
            with self._changed:
                self._changed.wait_for(lambda: self._looks[0].has_ended or self._is_closed, self._limit_s / 20)
                if self._is_closed:
                    break
                if self._looks[0].has_ended:
                    ended.append(self._looks.popleft())
            self._look_after()
        return ended

    def now(self, frame: Frame, call: Callable[[], list[Person]]) -> list[Person]:
        """Look at a frame in this thread, while no other look has begun. Raises what the estimator raises."""
        return call()

    def last(self, patience_s: float = LOOK_LIMIT_S) -> list[Look]:
        """Wait for all looks, and take them. Where the estimator hangs, those that were not begun are left out."""
        ended = []
        end_s = time.perf_counter() + patience_s
        while self._looks and not self._hangs() and time.perf_counter() < end_s:
            with self._changed:
                self._changed.wait_for(lambda: self._looks[0].has_ended or self._is_closed, self._limit_s / 20)
                if self._is_closed:
                    break
            ended += self.ended()
        return ended

    def cancel(self, looks: Container[Look] | None = None) -> list[Look]:
        """Leave out the looks, or those of them, that have not begun; returns which."""
        with self._changed:
            left_out = [look for look in self._looks if look.begun_s is None and (looks is None or look in looks)]
            self._looks = deque(look for look in self._looks if look not in left_out)
            for look in left_out:
                look.is_left_out = True
        return left_out

    def close(self, patience_s: float = 0.7) -> bool:
        """End the work. False where the estimator still looks at something: then it must not be closed.

        Only the first call is patient.
        """
        self.cancel()
        with self._changed:
            patience_s = 0.0 if self._is_closed else patience_s
            self._is_closed = True
            self._changed.notify_all()
        threads = [thread for thread in (self._thread, self._hanging) if thread is not None]
        if threading.current_thread() not in threads:
            end_s = time.perf_counter() + patience_s
            for thread in threads:
                thread.join(max(0.0, end_s - time.perf_counter()))
        return not any(thread.is_alive() for thread in threads)

    def __enter__(self) -> Looks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hangs(self) -> bool:
        """Whether the only estimator is still in a call that was given up."""
        if self._hanging is not None and not self._hanging.is_alive():
            self._hanging = None
        return self._hanging is not None

    def _look_after(self) -> None:
        """Give up a look that takes too long."""
        with self._changed:
            look = next((one for one in self._looks if not one.has_ended), None)
            if look is None or look.begun_s is None or time.perf_counter() - look.begun_s < self._limit_s:
                return
            look.error = HangsError(f"the estimator has not answered within {self._limit_s:g} s")
            hanging, self._thread = self._thread, None
        if not self._renew():
            self._hanging = hanging
            self.cancel()

    def _work(self) -> None:
        """What the thread does, until the work ends or another thread has taken over."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or not self._is_mine() or self._next() is not None)
                look = self._next()
                if self._is_closed or not self._is_mine() or look is None:
                    return
                look.begun_s = time.perf_counter()
            people, error = None, None
            try:
                people = look.call()
            except Exception as raised:  # a user's estimator may raise anything
                error = raised
            with self._changed:
                if self._is_mine():
                    look.people, look.error, look.ended_s = people, error, time.perf_counter()
                    self._changed.notify_all()
            self._on_end()

    def _is_mine(self) -> bool:
        return self._thread is threading.current_thread()

    def _next(self) -> Look | None:
        return next((look for look in self._looks if look.begun_s is None), None)

"""TimeStamps: the times of frames, made to grow. Where the stream's own are missing or wrong, its others tell them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Picture = TypeVar("Picture")

# Times less than this apart are the same, but for the rounding of sums.
_TICK_S = 1e-6
# A clock that goes back counts as started again once so many frames in a row are not later than the last good one.
_FRAMES_BACK = 8
# Frames that share a gap this much smaller than a step were not in it: their clock went back by a few frames.
_SMALLEST_STEP = 0.4
# No time of a steady stream is later than the last by more than this, in seconds and in steps.
_LEAP_S, _LEAP_STEPS = 10.0, 10


class TimeStamps(Generic[Picture]):
    """Seconds that always grow, made from a stream's own times with as little change as possible.

    A picture without a good time waits for the next one that has one, and the times between are even; `ahead` is how
    many pictures may wait. With `leaps`, a clock that leaps forward for good is a new clock, as in broadcasts.
    """

    def __init__(self, step_s: float, *, ahead: int = 64, leaps: bool = False) -> None:
        self.repaired = 0
        self._step_s = step_s
        self._ahead = ahead
        self._leaps = leaps
        self._leap_s = max(_LEAP_S, _LEAP_STEPS * step_s)
        self._last_s: float | None = None
        self._gap_s = 0.0  # between the last two
        self._shift_s = 0.0
        self._waiting: deque[tuple[Picture, float | None]] = deque()

    def of(self, pictures: Iterable[tuple[Picture, float | None]]) -> Iterator[tuple[Picture, float]]:
        """Every picture in order, with its time. None: the stream has no time for it."""
        for picture, time_s in pictures:
            self._waiting.append((picture, None if time_s is None else time_s + self._shift_s))
            yield from self._settled(at_end=False)
        yield from self._settled(at_end=True)

    def _settled(self, *, at_end: bool) -> Iterator[tuple[Picture, float]]:
        while self._waiting:
            times_s = self._next_times([time_s for _, time_s in self._waiting], at_end)
            if not times_s:
                return
            for time_s in times_s:
                picture, _ = self._waiting.popleft()
                self._gap_s = 0.0 if self._last_s is None else time_s - self._last_s
                self._last_s = time_s
                yield picture, time_s

    def _next_times(self, waiting: list[float | None], at_end: bool) -> list[float]:
        """The times of the first pictures that wait, as far as they are known; nothing while more must be seen."""
        first, last_s = waiting[0], self._last_s
        if first is not None:
            if last_s is None or _TICK_S <= first - last_s <= self._leap_s:
                return [first]
            if first - last_s > self._leap_s:
                follower = next((time_s for time_s in waiting[1:] if time_s is not None), None)
                if follower is None and not at_end and len(waiting) < self._ahead:
                    return []
                if follower is None or not last_s < follower < first:
                    # A source of few pictures leaps all the time.
                    usual_s = self._gap_s if follower is None else follower - first
                    is_leap = self._leaps and usual_s <= self._leap_s
                    return [self._new_clock(first, last_s)] if is_leap else [first]
        later = next((k for k, time_s in enumerate(waiting) if k and _is_later(time_s, last_s)), None)
        if later is None:
            return self._without_later(waiting, at_end)
        return self._up_to(later, waiting)

    def _without_later(self, waiting: list[float | None], at_end: bool) -> list[float]:
        """No picture that waits has a good time."""
        first, last_s = waiting[0], self._last_s
        back = sum(time_s is not None for time_s in waiting)
        if not at_end and back < _FRAMES_BACK and len(waiting) < self._ahead:
            return []
        if first is not None and last_s is not None:
            return [self._new_clock(first, last_s)]
        self.repaired += 1
        return [0.0 if last_s is None else last_s + self._step_s]

    def _up_to(self, later: int, waiting: list[float | None]) -> list[float]:
        """The times of the pictures before number `later`, which is the first with a good time."""
        end_s, last_s, step_s = waiting[later], self._last_s, self._step_s
        assert end_s is not None
        if last_s is None:
            self.repaired += later
            return [end_s - (later - k) * step_s for k in range(later)]
        share_s = (end_s - last_s) / (later + 1)
        first = waiting[0]
        if first is not None and not _is_later(first, last_s) and later > 1 and share_s < _SMALLEST_STEP * step_s:
            return [self._new_clock(first, last_s)]
        if end_s - last_s > self._leap_s:
            share_s = min(share_s, step_s)
        self.repaired += later
        return [last_s + (k + 1) * share_s for k in range(later)]

    def _new_clock(self, first: float, last_s: float) -> float:
        """Time goes on from the last good one, whatever the clock says from `first` on."""
        time_s = last_s + self._step_s
        shift_s = time_s - first
        self.repaired += 1
        self._shift_s += shift_s
        self._waiting = deque((picture, None if t is None else t + shift_s) for picture, t in self._waiting)
        return time_s


def _is_later(time_s: float | None, last_s: float | None) -> bool:
    return time_s is not None and (last_s is None or time_s - last_s >= _TICK_S)

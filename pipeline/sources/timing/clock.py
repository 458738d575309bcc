"""CaptureClock: when the pictures of a live source were taken, from its own stamps and the times at which they came."""

from __future__ import annotations

import math
from collections import deque

# Over so many seconds, the picture with the least delay shows the true one: Wi-Fi holds others back for up to 0.3 s.
_WINDOW_S = 10.0
# Times follow a change of the least delay by at most this share of the step from picture to picture.
_SLEW = 0.1
# At first, while what was held back before the start comes out, they follow at once.
_START_S = 1.0
# Stamps so far ahead of their time are those of another clock.
_MOST_AHEAD_S = 0.5
# Clocks do not drift by this share. Stamps that do were made up by the reader, from a rate that is not the true one.
_MOST_DRIFT = 0.02
_DRIFT_OVER_S = 3.0


class CaptureClock:
    """Maps a source's stamps to this machine's clock: a picture was taken the least delay of late before it came.

    So pictures that come in bursts keep their spacing, and what was held back is as old as it is. The least delay
    itself is unknown: times are late by it. Stamps that jump begin anew; where they cannot be trusted the time of a
    picture is that at which it came. No time lies ahead of that, and none before the one before.
    """

    def __init__(self) -> None:
        self._last_s = -math.inf
        self.restart()

    def restart(self) -> None:
        """The next stamp is of another clock."""
        self._delays: deque[tuple[float, float]] = deque()  # when, and how long; they grow
        self._halves: deque[tuple[float, float]] = deque()  # all of the last seconds
        self._delay_s = 0.0
        self._stamp_s: float | None = None  # of the picture before
        self._begun_s = math.inf

    def time_s(self, stamp_s: float | None, received_s: float) -> float:
        """The time of the next picture, whose stamp is in seconds of any clock; None where it has none."""
        time_s = received_s if stamp_s is None else min(self._taken_s(stamp_s, received_s), received_s)
        self._last_s = max(time_s, math.nextafter(self._last_s, math.inf))
        return self._last_s

    def _taken_s(self, stamp_s: float, received_s: float) -> float:
        delay_s = received_s - stamp_s
        is_jump = self._stamp_s is not None and (stamp_s < self._stamp_s or delay_s < self._delay_s - _MOST_AHEAD_S)
        if is_jump:
            self.restart()
        step_s = 0.0 if self._stamp_s is None else stamp_s - self._stamp_s
        self._stamp_s, self._begun_s = stamp_s, min(self._begun_s, received_s)
        while self._delays and self._delays[-1][1] >= delay_s:
            self._delays.pop()
        self._delays.append((received_s, delay_s))
        while self._delays[0][0] < received_s - _WINDOW_S:
            self._delays.popleft()
        change_s = self._delays[0][1] - self._delay_s
        most_s = math.inf if received_s < self._begun_s + _START_S else _SLEW * step_s
        self._delay_s += math.copysign(min(abs(change_s), most_s), change_s)
        return received_s if self._drifts(received_s, delay_s) else stamp_s + self._delay_s

    def _drifts(self, received_s: float, delay_s: float) -> bool:
        """Whether the least delay of the newer half of some seconds is far from that of the older half."""
        self._halves.append((received_s, delay_s))
        while self._halves[0][0] < received_s - 2 * _DRIFT_OVER_S:
            self._halves.popleft()
        middle_s = received_s - _DRIFT_OVER_S
        older = [delay for at_s, delay in self._halves if at_s < middle_s]
        newer = [one for one in self._halves if one[0] >= middle_s]
        # Both have to be known for long enough: what comes after a pause was held back.
        if not older or min(middle_s - self._halves[0][0], received_s - newer[0][0]) < _DRIFT_OVER_S / 2:
            return False
        return abs(min(delay for _, delay in newer) - min(older)) > _MOST_DRIFT * _DRIFT_OVER_S

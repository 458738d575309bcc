"""Pace: a recording that is played at its own speed. `pause_before`: how long to wait before the next try."""

from __future__ import annotations

import time

# Stamps so far ahead are a jump in time, and none that pictures wait for.
_MOST_AHEAD_S = 10.0


class Pace:
    """How far the time of pictures is ahead of a clock that starts with the first of them."""

    def __init__(self, unit_s: float) -> None:
        self._unit_s = unit_s
        self._start_s: float | None = None

    def ahead_s(self, pts: int | None) -> float:
        """Seconds until a picture with this stamp is due; negative where it is late."""
        now_s, shown_s = time.perf_counter(), (pts or 0) * self._unit_s
        if self._start_s is None or shown_s - (now_s - self._start_s) > _MOST_AHEAD_S:
            self._start_s = now_s - shown_s
        return shown_s - (now_s - self._start_s)


def pause_before(attempt: int) -> float:
    """Seconds to wait before a lost source is opened again, by the number of the attempt in a row."""
    if attempt <= 5:
        return 1.0
    return 5.0 if attempt <= 10 else 10.0 if attempt <= 20 else 60.0

"""TimeStamps: the times of frames, made to grow."""

from __future__ import annotations


class TimeStamps:
    """Seconds that always grow, made from a stream's own times with as little change as possible."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.repaired = 0
        self._last_s: float | None = None
        self._shift_s = 0.0

    def next(self, time_s: float | None) -> float:
        """The stream's own time where it is later than the last, else a repaired one. None: the stream has no time."""
        last_s = self._last_s
        if time_s is not None:
            time_s += self._shift_s
        if time_s is None or (last_s is not None and time_s <= last_s):
            self.repaired += 1
            if last_s is None:
                repaired_s = 0.0
            elif time_s is None:
                repaired_s = last_s + self.step_s
            elif last_s - time_s < 1.0:
                repaired_s = last_s + self.step_s / 2  # half a step, so that the next good time is still later
            else:
                repaired_s = last_s + self.step_s  # the clock started again: time goes on from the last
                self._shift_s += repaired_s - time_s
            time_s = repaired_s
        self._last_s = time_s
        return time_s

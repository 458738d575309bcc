"""KeyframeClock: which frames are keyframes, by their times alone."""

from __future__ import annotations

import math

from mixsynth_stream.spaces import GRID_HZ

# Time stamps are rounded to their container's ticks (1/90 000 s to 1 ms): a frame this little too early is on time.
_TICK_S = 2e-3


class KeyframeClock:
    """Keyframe k is the first frame with time_s >= t0 + k * N / rate_hz, on the grid of the weights."""

    def __init__(self, sample_interval: int, rate_hz: float = GRID_HZ) -> None:
        self._period_s = sample_interval / rate_hz
        self._start_s: float | None = None
        self._next = 0

    def is_due(self, time_s: float) -> bool:
        """Whether the frame at this time is a keyframe; asking does not move the clock."""
        return self._start_s is None or time_s >= self._start_s + self._next * self._period_s - _TICK_S

    def restart(self, time_s: float) -> None:
        """Begin anew with the frame at this time as keyframe 0."""
        self._start_s = None
        self.tick(time_s)

    def tick(self, time_s: float) -> None:
        """Take the frame at this time as a keyframe."""
        if self._start_s is None:
            self._start_s = time_s
        self._next = math.floor((time_s - self._start_s + _TICK_S) / self._period_s) + 1

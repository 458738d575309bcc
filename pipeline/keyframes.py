"""KeyframeClock: which frames are keyframes, by their times alone. KeyframeChooser: by what happens in the picture."""

from __future__ import annotations

import math

from mixsynth_stream.spaces import GRID_HZ

# Keyframes that are chosen lie so many steps of the grid apart: the networks were trained with 5 to 15.
LEAST_STEPS, MOST_STEPS = 3, 15
# A look is not worth its price before the pose of now was off by so much since the last one: body scales x seconds.
_LEAST_WORTH = 0.002
# After a keyframe that somebody came or was lost at, the next one comes after so many steps, as far as the budget goes:
# others may come with them, and who was hidden comes out again.
_SOON_STEPS = 5
# Until motion was seen, the error of now is thought to grow by so many body scales a second.
_TYPICAL_GROWTH = 0.2
# Beside other streams, one in which nobody moves is looked at as if its error grew by so many body scales a second.
_LEAST_GROWTH = 0.05
# Motion is compared with that of the last seconds, and what was expected before any counts for so long.
_MEMORY_S, _PRIOR_S = 10.0, 1.0
# Calls that were not made may be made later, up to those of so many seconds; a shortage raises the price of a look.
_SAVINGS_S = 2.0
_SHORTAGE = 0.15

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

    def need(self, time_s: float) -> float:
        """How much a look at a frame that is due is needed, beside those of other streams: seconds since the last."""
        return math.inf if self._start_s is None else time_s - self._start_s - (self._next - 1) * self._period_s

    def restart(self, time_s: float) -> None:
        """Begin anew with the frame at this time as keyframe 0."""
        self._start_s = None
        self.tick(time_s)

    def tick(self, time_s: float) -> None:
        """Take the frame at this time as a keyframe."""
        if self._start_s is None:
            self._start_s = time_s
        self._next = math.floor((time_s - self._start_s + _TICK_S) / self._period_s) + 1


class KeyframeChooser:
    """A frame is a keyframe where the error of now, summed since the last one, is worth a look.

    The mean error of now is least where that sum is the same in all gaps: they are shorter the livelier the motion is,
    with the root of its speed. The sum that is worth a look follows from the recent motion and from `calls_hz`, which
    holds over any few seconds. Video time and motion decide, never measured time, so a file has the same keyframes
    each time.
    """

    def __init__(self, calls_hz: float, rate_hz: float = GRID_HZ) -> None:
        self.calls_hz = calls_hz
        self._least_s, self._most_s = LEAST_STEPS / rate_hz, MOST_STEPS / rate_hz
        self._soon_s = _SOON_STEPS / rate_hz
        self._is_urgent = False
        self._last_s: float | None = None  # the newest keyframe
        # Since then: the error of now, its sum, and the times of the last two frames that it was seen in.
        self._error = self._sum = self._seen_s = self._before_s = 0.0
        self._savings = calls_hz * _SAVINGS_S / 2  # calls
        # Sums over gaps, which fade: of the root of twice the error's sum, and of seconds.
        self._roots, self._seconds = math.sqrt(_TYPICAL_GROWTH) * _PRIOR_S, _PRIOR_S

    def is_due(self, time_s: float) -> bool:
        """Whether the frame at this time is a keyframe; asking does not move the clock."""
        if self._last_s is None:
            return True
        elapsed_s = time_s - self._last_s + _TICK_S
        if elapsed_s < self._least_s or elapsed_s >= self._most_s:
            return elapsed_s >= self._least_s
        savings = self._savings_at(time_s)
        if self._is_urgent and elapsed_s >= self._soon_s and savings >= 1.0:
            return True
        half_frame_s = (time_s - self._before_s) / 2
        return savings >= 1.0 and self._sum + self._error * half_frame_s >= self._worth(savings)

    def need(self, time_s: float) -> float:
        """How much a look at a frame that is due is needed, beside those of other streams, in body scales x seconds.

        Where all streams look at the same summed error, their mean error is least. That of a still picture grows, too,
        so that each gets its turn.
        """
        if self._last_s is None:
            return math.inf
        elapsed_s = time_s - self._last_s
        return self._sum + _LEAST_GROWTH * elapsed_s * elapsed_s / 2

    def see(self, time_s: float, error: float | None) -> None:
        """Take the expected error of now, in body scales; None where nothing is known of it."""
        if self._last_s is None:
            return
        if error is None:
            error = _TYPICAL_GROWTH * (time_s - self._last_s)
        self._sum += (self._error + error) / 2 * (time_s - self._seen_s)
        self._before_s, self._seen_s, self._error = self._seen_s, time_s, error

    def restart(self, time_s: float) -> None:
        """Begin anew with the frame at this time as a keyframe."""
        self.tick(time_s)

    def hurry(self) -> None:
        """Somebody came or was lost at the newest keyframe: the next one comes soon, as far as the budget goes."""
        self._is_urgent = True

    def tick(self, time_s: float) -> None:
        """Take the frame at this time as a keyframe."""
        if self._last_s is not None:
            gap_s = time_s - self._last_s
            keep = math.exp(-gap_s / _MEMORY_S)
            self._roots = self._roots * keep + math.sqrt(2 * self._sum)
            self._seconds = self._seconds * keep + gap_s
            self._savings = self._savings_at(time_s) - 1.0
        self._is_urgent = False
        self._last_s = self._seen_s = self._before_s = time_s
        self._sum = self._error = 0.0

    def _savings_at(self, time_s: float) -> float:
        assert self._last_s is not None
        return min(self._savings + self.calls_hz * (time_s - self._last_s), self.calls_hz * _SAVINGS_S)

    def _worth(self, savings: float) -> float:
        """The sum of errors that a look is worth."""
        price = self._roots / self._seconds / self.calls_hz
        price *= math.exp(-_SHORTAGE * (savings - self.calls_hz * _SAVINGS_S / 2))
        return max(price * price / 2, _LEAST_WORTH)

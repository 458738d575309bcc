"""Progress of a job: one line on standard error, rewritten on a terminal and repeated every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.forecast.self_score import SelfScore
    from mixsynth_stream.pipeline.frame import SourceEvent, VideoInfo
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.stats import StreamStats

_TERMINAL_EVERY_S = 0.1
_LOG_EVERY_S = 5.0
# The rate is that of the last few seconds, so that it follows the speed of the machine.
RATE_OVER_S = 3.0


class Progress:
    """Call `update` after every Motion, and `close` at the end or by `with`.

    The line of a file has frames, share, rate, people and the time left; that of a camera has rate, latency, keyframes,
    people, and drops by reason.
    """

    def __init__(
        self,
        name: str,
        info: VideoInfo | None,
        *,
        shown: bool = True,
        to: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._live = info is not None and info.live
        self._total = None if info is None or self._live else info.frame_count
        self._duration_s = None if info is None or self._live else info.duration_s
        self._first: tuple[int, float] | None = None  # number and time of the first Motion
        self._to = to or sys.stderr  # None in daemons and under pythonw
        self._shown = shown and self._to is not None and not self._to.closed
        self._terminal = self._shown and self._to.isatty()
        self._clock = clock
        self._recent: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._due = clock() + (_TERMINAL_EVERY_S if self._terminal else _LOG_EVERY_S)
        self._line = ""
        self._newest = -1
        self._lost_s = 0.0

    def update(
        self,
        motion: Motion,
        stats: StreamStats,
        latency_s: float | None = None,
        score: SelfScore | None = None,
    ) -> None:
        """Take the next Motion, and draw the line if it is due. `latency_s` is the Motion's age, where it is known."""
        self._first = self._first or (motion.index, motion.time_s)
        # The final of an earlier frame says nothing about the present.
        if motion.index < self._newest or not self.is_due():
            return
        self._newest = motion.index
        now = self._clock()
        self._recent.append((now, stats.frames))
        while len(self._recent) > 2 and now - self._recent[0][0] > RATE_OVER_S:
            self._recent.popleft()
        self._draw(self._text(motion, stats, latency_s, score))

    def is_due(self) -> bool:
        """Whether a line is to be drawn now; the next one is due some time later."""
        now = self._clock()
        if not self._shown or now < self._due:
            return False
        self._due = now + (_TERMINAL_EVERY_S if self._terminal else _LOG_EVERY_S)
        return True

    def tell(self, event: SourceEvent) -> None:
        """Say what has happened to a live source. That it is lost stands in a log anyway."""
        if event.kind == "lost":
            self._lost_s, words = event.time_s, f"camera lost ({event.about}), trying again"
        elif event.kind == "back":
            words = f"camera back after {event.time_s - self._lost_s:.1f} s"
        else:
            words = f"another size: {event.about}"
        if self._shown and (self._terminal or event.kind != "lost"):
            self._draw(f"{self._name}  {words}")

    def close(self) -> None:
        """Leave the terminal on a fresh line."""
        if self._terminal and self._line:
            self._write("\r" + " " * len(self._line) + "\r")
            self._line = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _text(self, motion: Motion, stats: StreamStats, latency_s: float | None, score: SelfScore | None) -> str:
        (start_s, start_frames), (now, frames) = self._recent[0], self._recent[-1]
        rate = (frames - start_frames) / max(now - start_s, 1e-9)
        people = f"{len(motion.ids)} {'person' if len(motion.ids) == 1 else 'people'}"
        parts = [self._name]
        if self._live:
            slowest_s = stats.ledger.percentiles().get("total_s", (None,))[-1]
            worst = "" if slowest_s is None else f" (p99 {1000 * slowest_s:.0f})"
            latency = [] if latency_s is None else [f"latency {1000 * latency_s:.0f} ms{worst}"]
            ratio = None if score is None else score.ratio()
            latency += [] if ratio is None else [f"forecast {ratio:.2f} of the best simple one's error"]
            latency += [] if score is None or score.is_by_network else [f"forecast by {score.method.replace('_', ' ')}"]
            drops = [f"{reason.replace('_', ' ')} {count}" for reason, count in sorted(stats.counters.items()) if count]
            return "  ".join([*parts, f"{rate:.1f} fps", *latency, f"{stats.keyframes} keyframes", people, *drops])
        total = self._total or self._expected_frames(motion)
        if total:
            # The container's estimate may be too small; the share must not pass 100 %.
            share = f"{100 * min(frames / total, 1.0):.0f} %"
            left_s = max(total - frames, 0) / rate if rate > 0 else float("inf")
            parts += [f"{frames}/{total} frames", share, f"{rate:.0f} frames/s", people, time_left(left_s)]
            return "  ".join(parts)
        return "  ".join([*parts, f"{frames} frames", f"{rate:.0f} frames/s", people])

    def _expected_frames(self, motion: Motion) -> int | None:
        """Of a file that has a duration and no number of frames: as many a second as so far."""
        index, time_s = self._first or (0, 0.0)
        if not self._duration_s or motion.time_s <= time_s:
            return None
        return round(self._duration_s * (motion.index - index) / (motion.time_s - time_s))

    def _draw(self, text: str) -> None:
        self._write("\r" + text.ljust(len(self._line)) if self._terminal else text + "\n")
        self._line = text

    def _write(self, text: str) -> None:
        """A terminal that was closed, or a full disk under a log, must not end the work."""
        try:
            self._to.write(text)
            self._to.flush()
        except OSError:
            self._shown = False


def time_left(seconds: float) -> str:
    """Seconds in words; "" where nobody knows."""
    if seconds == float("inf"):
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s left"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s left"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min left"

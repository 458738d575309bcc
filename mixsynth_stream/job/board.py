"""Board: the progress of several live sources, in one line."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from mixsynth_stream.job.progress import RATE_OVER_S, Progress

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import SourceEvent
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.stream import Stream

# The rates of so many sources stand in the line one by one; of more, the least and the greatest.
_FEW = 4


class Board(Progress):
    """Call `see` after every Motion, and `close` at the end or by `with`. A line is due as often as that of Progress.

    It has how many sources run, their rates, the slowest latency, keyframes, people, drops by reason, and which sources
    are lost. `streams` are those of the sources, None while one is not open.
    """

    def __init__(
        self,
        names: Sequence[str],
        streams: Sequence[Stream | None],
        *,
        shown: bool = True,
        to: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(f"{len(names)} sources", None, shown=shown, to=to, clock=clock)
        self._names, self._streams = names, streams
        self._people = [0] * len(names)
        self._lost: set[int] = set()
        self._ended: set[int] = set()
        self._counts: deque[tuple[float, list[int]]] = deque([(clock(), [0] * len(names))])

    def __enter__(self) -> Board:
        return self

    def see(self, number: int, motion: Motion) -> None:
        """Take the next Motion of a source, and draw the line if it is due."""
        self._people[number] = len(motion.ids)
        self.draw_if_due()

    def tell_of(self, number: int, event: SourceEvent) -> None:
        """Take what has happened to a source."""
        if event.kind == "lost":
            self._lost.add(number)
        elif event.kind == "back":
            self._lost.discard(number)

    def end(self, number: int) -> None:
        """Take that a source has ended."""
        self._ended.add(number)
        self._lost.discard(number)
        self._people[number] = 0

    def draw_if_due(self) -> None:
        """Draw the line if it is due; for when nothing comes, too."""
        if self.is_due():
            self._draw(self._line_of_all())

    def _line_of_all(self) -> str:
        now = self._clock()
        frames = [0 if stream is None else stream.stats.frames for stream in self._streams]
        self._counts.append((now, frames))
        while len(self._counts) > 2 and now - self._counts[0][0] > RATE_OVER_S:
            self._counts.popleft()
        before_s, before = self._counts[0]
        running = [n for n, stream in enumerate(self._streams) if stream is not None and n not in self._ended]
        rates = [(frames[n] - before[n]) / max(now - before_s, 1e-9) for n in running]
        streams = [stream for stream in self._streams if stream is not None]
        totals = [stream.stats.ledger.percentiles().get("total_s") for stream in streams]
        slowest = max((total[-1] for total in totals if total is not None), default=None)
        drops: Counter[str] = Counter()
        for stream in streams:
            drops.update(stream.stats.counters)
        people = sum(self._people)
        parts = [
            f"{len(running)} of {self._name}",
            _rates(rates),
            "" if slowest is None else f"latency p99 {1000 * slowest:.0f} ms",
            f"{sum(stream.stats.keyframes for stream in streams)} keyframes",
            f"{people} {'person' if people == 1 else 'people'}",
            *(f"{reason.replace('_', ' ')} {count}" for reason, count in sorted(drops.items()) if count),
            "lost: " + ", ".join(self._names[n] for n in sorted(self._lost)) if self._lost else "",
        ]
        return "  ".join(part for part in parts if part)


def _rates(rates: Sequence[float]) -> str:
    """Rates in words: each of a few, the least and the greatest of many."""
    if not rates:
        return ""
    if len(rates) <= _FEW:
        return " ".join(f"{rate:.1f}" for rate in rates) + " fps"
    return f"{min(rates):.1f}-{max(rates):.1f} fps"

"""StreamStats: what a stream has cost so far."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from mixsynth_stream.pipeline.ledger import Ledger

# "glance" is following people between keyframes.
STAGES = ("decode", "estimator", "network", "glance")


class _Timed:
    """A `with` block that is timed. A generator would take thrice as long, and a frame has a dozen of these."""

    __slots__ = ("_before_s", "_inner", "_seconds", "_stage", "_start_s")

    def __init__(self, seconds: dict[str, float], inner: threading.local, stage: str) -> None:
        self._seconds, self._inner, self._stage = seconds, inner, stage

    def __enter__(self) -> None:
        self._before_s = getattr(self._inner, "seconds", 0.0)
        self._inner.seconds = 0.0  # of the stages inside this one
        self._start_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        elapsed_s = time.perf_counter() - self._start_s
        self._seconds[self._stage] += elapsed_s - self._inner.seconds
        self._inner.seconds = self._before_s + elapsed_s


@dataclass
class StreamStats:
    """What a stream has cost so far. `seconds` is wall-clock time by stage; `counters` what was skipped, by reason,
    and `ledger` how long live poses were on their way.

    A stage inside another one is charged to itself alone.
    """

    frames: int = 0
    keyframes: int = 0
    estimator_calls: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    counters: dict[str, int] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger, repr=False, compare=False)
    _inner: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def timed(self, stage: str) -> _Timed:
        """Charge the wall-clock time of a `with` block to a stage."""
        return _Timed(self.seconds, self._inner, stage)

    def count(self, reason: str, number: int = 1) -> None:
        """Add to a counter. One that never counted anything does not exist."""
        if number:
            self.counters[reason] = self.counters.get(reason, 0) + number

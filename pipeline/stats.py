"""StreamStats: what a stream has cost so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mixsynth_stream.pipeline.ledger import Ledger

# "glance" is following people between keyframes.
STAGES = ("decode", "estimator", "network", "glance")


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

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Charge the wall-clock time of a `with` block to a stage."""
        before_s = getattr(self._inner, "seconds", 0.0)
        self._inner.seconds = 0.0  # of the stages inside this one
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed_s = time.perf_counter() - start
            self.seconds[stage] += elapsed_s - self._inner.seconds
            self._inner.seconds = before_s + elapsed_s

    def count(self, reason: str, number: int = 1) -> None:
        """Add to a counter. One that never counted anything does not exist."""
        if number:
            self.counters[reason] = self.counters.get(reason, 0) + number

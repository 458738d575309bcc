"""StreamStats: what a stream has cost so far."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class StreamStats:
    """What a stream has cost so far. `seconds` is wall-clock time by stage; `counters` what was skipped, by reason."""

    frames: int = 0
    keyframes: int = 0
    estimator_calls: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "estimator": 0.0, "network": 0.0})
    counters: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Charge the wall-clock time of a `with` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def count(self, reason: str) -> None:
        """Add one to a counter."""
        self.counters[reason] = self.counters.get(reason, 0) + 1

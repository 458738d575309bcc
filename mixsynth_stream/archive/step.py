"""Step: how far a task has come, and `Teller`, which says so now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixsynth_stream.job.process import JobResult


@dataclass(frozen=True, kw_only=True)
class Step:
    """The frames of a task so far, those that are expected if that is known, its people so far."""

    frames: int
    expected_frames: int | None = None
    people: int = 0

    @classmethod
    def of(cls, result: JobResult) -> Step:
        """The step of a result that grows."""
        expected = None if result.info is None else result.info.frame_count
        return cls(frames=result.stats.frames, expected_frames=expected, people=len(result.people))


class Teller:
    """Takes the result of each frame, and tells its step, at most once in `every_s`."""

    def __init__(self, tell: Callable[[Step], None], every_s: float) -> None:
        self._tell, self._every_s = tell, every_s
        self._last_s = 0.0

    def __call__(self, result: JobResult) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s > self._every_s:
            self._last_s = now_s
            self._tell(Step.of(result))

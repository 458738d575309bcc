"""Ledger: how long live poses are on their way, and where."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame

# Percentiles are those of the last minute at 30 Hz.
_KEPT = 1800
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Latency:
    """Seconds on the way of a live frame's first Motion. What every picture of a source waits for is not known, but
    for the segments of HLS."""

    held_s: float  # the picture was held back on its way here, by the network, in bursts or in segments
    waited_s: float  # it waited here until it was read
    made_s: float  # from there to its Motion
    keyframe_age_s: float | None  # how old the newest look was at the frame's time; None before the first

    @classmethod
    def of(cls, frame: Frame, *, read_s: float | None, now_s: float | None, look_s: float | None) -> Latency | None:
        """Of a frame that was read at `read_s` and has its Motion `now_s`; the newest look was at a frame of `look_s`.

        None where the source has no clock.
        """
        if read_s is None or now_s is None or frame.received_s is None:
            return None
        return cls(
            held_s=frame.received_s - frame.time_s + frame.buffered_s,
            waited_s=read_s - frame.received_s,
            made_s=now_s - read_s,
            keyframe_age_s=None if look_s is None else frame.time_s - look_s,
        )

    @property
    def total_s(self) -> float:
        """From the picture to its Motion."""
        return self.held_s + self.waited_s + self.made_s


class Ledger:
    """The ways of the newest Motions. Those that are revised count once, when they first come."""

    def __init__(self) -> None:
        self._ways: deque[tuple[float, ...]] = deque(maxlen=_KEPT)  # as in Latency, NaN for what is not known

    def add(self, latency: Latency) -> None:
        """Take the way of one more frame."""
        age_s = np.nan if latency.keyframe_age_s is None else latency.keyframe_age_s
        self._ways.append((latency.held_s, latency.waited_s, latency.made_s, age_s))

    def __len__(self) -> int:
        return len(self._ways)

    def percentiles(self) -> dict[str, tuple[float, ...]]:
        """For each part of the way and for `total_s`: seconds at `PERCENTILES`; empty where there is nothing yet."""
        if not self._ways:
            return {}
        parts = np.array(self._ways)
        names = [field.name for field in fields(Latency)]
        columns = dict(zip(names, parts.T, strict=True)) | {"total_s": parts[:, :3].sum(axis=1)}
        known = {name: column[np.isfinite(column)] for name, column in columns.items()}
        return {
            name: tuple(np.percentile(column, PERCENTILES).tolist()) for name, column in known.items() if len(column)
        }

    def __str__(self) -> str:
        """The whole way in words; empty where there is nothing yet."""
        total = self.percentiles().get("total_s")
        return "" if total is None else "latency " + " / ".join(f"{1e3 * s:.0f}" for s in total) + " ms (p50 / 95 / 99)"

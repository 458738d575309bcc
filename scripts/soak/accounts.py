"""Accounts of the soak run: which frames came out, what the process holds, and whether that is as it should be."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from mixsynth_stream.memory import give_memory_back
from mixsynth_stream.pipeline.motion import Motion

MOST_MORE_MB, MOST_MORE_WITH_SIZES_MB = 10.0, 20.0
# Of a run that is too short to be warm: an estimator, or the pictures of some seconds, would take more.
MOST_MORE_COLD_MB = 60.0
# In such a run threads of libraries may still come, one by one. What each fault leaves behind, longer runs tell.
MOST_MORE_COLD = 2
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Frames:
    """The frames that came out. One that is open was shown and is not final yet."""

    shown: int = 0
    final: int = 0
    mistakes: list[str] = field(default_factory=list)
    _open: dict[int, bool] = field(default_factory=dict)  # whether somebody was shown in it
    _last: int = -1

    def take(self, motion: Motion) -> None:
        """Count a Motion. At lag 0 a frame comes at once, and once more when it is final."""
        if motion.final:
            self.final += 1
            if self._open.pop(motion.index, None) is None:
                self.mistakes.append(f"frame {motion.index} is final without having been shown, or twice")
        elif motion.index in self._open:
            self._open[motion.index] |= bool(len(motion.ids))  # a keyframe
        else:
            self.shown += 1
            if motion.index <= self._last:
                self.mistakes.append(f"frame {motion.index} came after frame {self._last}")
            self._last = max(self._last, motion.index)
            self._open[motion.index] = bool(len(motion.ids))

    @property
    def open(self) -> int:
        """Frames that are not final yet."""
        return len(self._open)

    @property
    def open_with_people(self) -> int:
        """Those of them in which somebody was shown."""
        return sum(self._open.values())


@dataclass(frozen=True)
class Sample:
    """What the process holds at a time."""

    time_s: float
    memory_mb: float
    threads: int
    handles: int
    frames: int

    @classmethod
    def now(cls, time_s: float, frames: int) -> Sample:
        """As of now."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        threads, handles = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd"))
        return cls(round(time_s, 1), round(pages * _PAGE_MB, 1), threads, handles, frames)


class Watch:
    """Samples of this process, one every few seconds, in a thread; and how long nothing has come at most."""

    def __init__(self, frames: Frames, every_s: float, compared_s: Sequence[float] = ()) -> None:
        """At the times `compared_s` what was freed goes back to the system first: it is no growth."""
        self.samples: list[Sample] = []
        self.longest_silence_s = 0.0
        self._frames = frames
        self._every_s = every_s
        self._compared_s = list(compared_s)
        self._start_s = self._turn_s = time.perf_counter()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._start_s

    def turn(self) -> None:
        """The loop has taken another turn: a Motion came, or the stream says that none comes."""
        now_s = time.perf_counter()
        self.longest_silence_s = max(self.longest_silence_s, now_s - self._turn_s)
        self._turn_s = now_s

    def go_on(self) -> None:
        """What the loop has done since its last turn was the run's own work."""
        self._turn_s = time.perf_counter()

    @property
    def silence_s(self) -> float:
        """How long nothing has come until now."""
        return time.perf_counter() - self._turn_s

    def close(self) -> None:
        """End the thread."""
        self._is_over.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._is_over.wait(self._every_s):
            if self._compared_s and self.elapsed_s >= self._compared_s[0]:
                self._compared_s.pop(0)
                give_memory_back()
            self.samples.append(Sample.now(self.elapsed_s, self._frames.shown))


def held(samples: list[Sample], from_s: float, to_s: float) -> dict[str, float]:
    """The median of what was held between two times."""
    some = [sample for sample in samples if from_s <= sample.time_s <= to_s] or samples[-1:]
    return {name: median(getattr(sample, name) for sample in some) for name in ("memory_mb", "threads", "handles")}


def check(name: str, value: Any, limit: Any, *, passed: bool) -> dict[str, Any]:
    """A row of the report."""
    return {"check": name, "value": value, "limit": limit, "passed": bool(passed)}


def checks_of_frames(frames: Frames, captured: int, counters: dict[str, int]) -> list[dict[str, Any]]:
    """Whether every frame that was captured came out, or was dropped for a reason that was counted."""
    dropped = sum(number for reason, number in counters.items() if reason.startswith("dropped"))
    return [
        check(
            "captured frames that are neither shown nor dropped",
            captured - frames.shown - dropped,
            0,
            passed=captured == frames.shown + dropped,
        ),
        check("shown frames without a final one", frames.open, 0, passed=frames.open == 0),
        check("of these with a person", frames.open_with_people, 0, passed=frames.open_with_people == 0),
        check("frames out of order, or final twice", len(frames.mistakes), 0, passed=not frames.mistakes),
    ]


def compared_over_s(end_s: float) -> float:
    """Over how many seconds after the warm-up, and before the end, what is held is compared."""
    return max(min(0.1 * end_s, 60.0), 2.0)


def checks_of_process(
    samples: list[Sample], warm_s: float, end_s: float, *, most_mb: float | None, most_more: int = 0
) -> list[dict[str, Any]]:
    """Whether the process holds at the end what it held after the warm-up; without `most_mb` any memory will do.

    `most_more` is how many more threads and handles there may be.
    """
    span_s = compared_over_s(end_s)
    before, after = held(samples, warm_s, warm_s + span_s), held(samples, end_s - span_s, end_s)
    rows = []
    if most_mb is not None:
        more_mb = round(after["memory_mb"] - before["memory_mb"], 1)
        name = f"memory since the warm-up ({before['memory_mb']:.0f} MB), in MB"
        rows.append(check(name, more_mb, most_mb, passed=more_mb <= most_mb))
    for name in ("threads", "handles"):
        more = after[name] - before[name]
        rows.append(check(f"{name} since the warm-up ({before[name]:.0f})", more, most_more, passed=more <= most_more))
    return rows

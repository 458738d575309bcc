"""Course: where one person was in one space, at keyframes and in pictures between them, on one curve."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mixsynth_stream.interpolation import catmull_rom_of_one


class Shifts(NamedTuple):
    """What a glance saw in the gap before a keyframe: by how much the way through the gap is to be corrected."""

    time_s: np.ndarray  # [G], increasing
    offsets: np.ndarray  # [G, J, D], 0 at both ends

    def at(self, times: np.ndarray) -> np.ndarray:  # [M] -> [M, J, D], 0 outside
        """Linear between the pictures."""
        right = np.minimum(np.maximum(self.time_s.searchsorted(times), 1), len(self.time_s) - 1)
        left = right - 1
        share = (times - self.time_s[left]) / (self.time_s[right] - self.time_s[left])
        share = np.minimum(np.maximum(share, 0.0), 1.0)
        share = share[:, None, None]
        return np.asarray(self.offsets[left] * (1.0 - share) + self.offsets[right] * share)


# What a glance saw, made when it is needed, because that takes long; None where it saw nothing.
Seen = Callable[[], Shifts | None]


class Points(NamedTuple):
    """Poses as they came, oldest first: keyframes, and what a glance saw between them."""

    time_s: np.ndarray  # [K], increasing
    poses: np.ndarray  # [K, R, D]

    def since(self, since_s: float) -> Points:
        """Those from a time on, and the last one before it."""
        kept = slice(max(int(self.time_s.searchsorted(since_s, side="right")) - 1, 0), None)
        return Points(self.time_s[kept], self.poses[kept])

    def at(self, times: np.ndarray) -> np.ndarray:  # [M] -> [M, R, D]
        """On a cubic curve through all of them."""
        flat = self.poses.reshape(len(self.poses), -1)
        return catmull_rom_of_one(self.time_s, flat, times).reshape(len(times), *self.poses.shape[1:])


class Course:
    """All poses up to a keyframe of which `pose` is known. Those of the gap before it are made when they are needed.

    `way` gives the poses at times in that gap as they are known without the pictures in it.
    """

    def __init__(
        self,
        before: Points | None,  # up to the keyframe before
        time_s: float,
        pose: np.ndarray,  # [R, D]
        seen: Seen | None = None,
        way: Callable[[np.ndarray], np.ndarray] | None = None,  # [M] -> [M, R, D]
    ) -> None:
        self._before, self._seen, self._way = before, seen, way
        self._keyframe = Points(np.array([time_s]), pose[None].copy())

    @cached_property
    def points(self) -> Points:
        """All of them."""
        seen, self._seen = self._seen, None  # it holds pictures
        way, self._way = self._way, None
        if self._before is None:
            return self._keyframe
        parts, shifts = [self._before, self._keyframe], None if seen is None else seen()
        if shifts is not None and way is not None:
            start_s, end_s = self._before.time_s[-1], self._keyframe.time_s[0]
            times = shifts.time_s[(shifts.time_s > start_s) & (shifts.time_s < end_s)]
            parts.insert(1, Points(times, way(times) + shifts.at(times)))
        return Points(*map(np.concatenate, zip(*parts, strict=True)))

    @property
    def start_s(self) -> float:
        """The time of the oldest one."""
        return float((self._before or self._keyframe).time_s[0])

    def at(self, times: np.ndarray) -> np.ndarray:  # [M] increasing -> [M, R, D]
        """On a cubic curve, for which two poses on both sides of a time count: so the gap is not always needed."""
        before = self._before
        if before is not None and before.time_s.searchsorted(times[-1]) <= len(before.time_s) - 2:
            return before.at(times)
        return self.points.at(times)

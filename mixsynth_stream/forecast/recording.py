"""Recording: the poses of people over time, whoever recorded them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import Skeleton
from mixsynth_stream.spaces import LANDMARK_SPACES

# Who is not known in the picture has a pose of this height, which makes the smallest body scale nearly nothing.
_NO_HEIGHT_PX = 1.0


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Who was where in each of F frames. Poses are of `skeleton`, in the units and axes of `Person`."""

    name: str
    skeleton: Skeleton
    time_s: np.ndarray  # [F] seconds, increasing
    people: Sequence[Mapping[int, Person]]  # F, by id
    numbers: np.ndarray  # [F] of the frames, where they were recorded
    size: tuple[int, int] | None = None  # width and height of the pictures

    def __post_init__(self) -> None:
        if not any(self.people):
            raise SourceError(f"{self.name} holds no measured pose of anybody: give a recording of people")
        if not np.isfinite(self.time_s).all() or not (np.diff(self.time_s) > 0).all():
            raise SourceError(f"{self.name}: times must be finite and grow from frame to frame: mend them")

    @cached_property
    def spacing_s(self) -> float:
        """The usual time from pose to pose of one person; infinite where nobody is seen twice."""
        last_s: dict[int, float] = {}
        gaps_s = []
        for time_s, people in zip(self.time_s.tolist(), self.people, strict=True):
            for person in people:
                if person in last_s:
                    gaps_s.append(time_s - last_s[person])
                last_s[person] = time_s
        return float(np.median(gaps_s)) if gaps_s else float("inf")

    @cached_property
    def spaces(self) -> tuple[str, ...]:
        """The spaces in which there are poses, of image and world."""
        everybody = [person for people in self.people for person in people.values()]
        return tuple(
            space
            for space in LANDMARK_SPACES
            if any((pose := person.in_space(space)) is not None and np.isfinite(pose).any() for person in everybody)
        )

    @cached_property
    def height_px(self) -> float:
        """Of the pictures; as far down as somebody was seen where it is not known."""
        if self.size is not None:
            return float(self.size[1])
        lowest = [
            np.nanmax(person.pose[:, 1], initial=_NO_HEIGHT_PX) for frame in self.people for person in frame.values()
        ]
        return float(max(lowest))

"""Fit: where a frame lies over the picture that windows work in, so that a change of size moves nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Person


@dataclass(frozen=True)
class Fit:
    """A picture laid over another one: centred, and scaled until the shorter sides agree.

    A camera that changes its format, or is turned, mostly keeps the field of view along the shorter side.
    """

    scale: float = 1.0
    left: float = 0.0  # pixels of the other picture
    top: float = 0.0

    @classmethod
    def of(cls, size: tuple[int, int], into: tuple[int, int]) -> Fit:  # (width, height) each
        """The fit of a picture of one size over one of another."""
        if size == into:
            return SAME
        scale = min(into) / min(size)
        return cls(scale, (into[0] - scale * size[0]) / 2, (into[1] - scale * size[1]) / 2)

    def place(self, person: Person) -> Person:
        """A person of the frame, in pixels of the other picture."""
        if self == SAME:
            return person
        return replace(person, pose=person.pose * self.scale + [self.left, self.top])

    def in_frame(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:  # of `Poses`
        """Arrays of `Poses` whose pixels are those of the other picture, in pixels of the frame."""
        if self is SAME or self == SAME:
            return arrays
        own = {"poses": (arrays["poses"] - [self.left, self.top]) / self.scale}
        if "sigma" in arrays:
            own["sigma"] = arrays["sigma"] / self.scale
        return arrays | own


SAME = Fit()  # a picture over itself

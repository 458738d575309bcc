"""Sides: left and right of a body that an estimator confused for a keyframe, put right by what was expected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixsynth_stream.pipeline.estimators.figure import Figure
from mixsynth_stream.pipeline.motion import Person

# With left and right exchanged, the pose must lie closer to the expectation by this factor ...
_CLOSER = 0.6
# ... and by so many body scales: nothing is known of somebody seen from the side, whose joints nearly coincide.
_GAIN = 0.15
# A person who was seen so often has sides that are known.
_KNOWN_SIGHTINGS = 2
# An estimator that insists for so many keyframes is right: the person has turned, or was confused before.
_INSISTED = 2


class Sides:
    """The sides of everybody who is followed, by id."""

    def __init__(self, figure: Figure) -> None:
        self._figure = figure
        self.reset()

    def reset(self) -> None:
        """Forget everybody."""
        self._sightings: dict[int, int] = {}
        self._undone: dict[int, int] = {}  # exchanges in a row

    def keep(self, ids: set[int]) -> None:
        """Forget all others."""
        self._sightings = {one: count for one, count in self._sightings.items() if one in ids}
        self._undone = {one: count for one, count in self._undone.items() if one in ids}

    def settled(self, person: Person, person_id: int, expected: np.ndarray) -> Person:  # [J, 2] pixels
        """The person, with left and right exchanged where that is what was expected."""
        self._sightings[person_id] = sightings = self._sightings.get(person_id, 0) + 1
        if sightings <= _KNOWN_SIGHTINGS or not is_exchanged(person.pose, expected, self._figure):
            self._undone[person_id] = 0
            return person
        self._undone[person_id] = undone = self._undone.get(person_id, 0) + 1
        if undone > _INSISTED:
            self._undone[person_id] = 0
            return person
        return exchanged(person, self._figure)


def exchanged(person: Person, figure: Figure) -> Person:
    """The person with the names of left and right joints exchanged."""
    mirror = figure.mirror
    return replace(person, pose=person.pose[mirror], world=person.world[mirror], scores=person.scores[mirror])


def is_exchanged(pose: np.ndarray, expected: np.ndarray, figure: Figure) -> bool:  # [J, 2] pixels each
    """Whether a pose fits the expectation clearly better with left and right exchanged."""
    own, other = figure.distance(pose, expected), figure.distance(pose[figure.mirror], expected)
    return other < _CLOSER * own and own - other > _GAIN

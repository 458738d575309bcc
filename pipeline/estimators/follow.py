"""FollowingEstimator: looks where people are expected, and searches only at first, on doubt, and now and then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.pipeline.estimators.changes import Changes
from mixsynth_stream.pipeline.estimators.figure import Figure
from mixsynth_stream.pipeline.estimators.mediapipe import SAME_PERSON, checked_rgb
from mixsynth_stream.pipeline.estimators.region import Eye, Region
from mixsynth_stream.pipeline.estimators.search import LARGE, Search, around, covers
from mixsynth_stream.pipeline.estimators.sides import Sides
from mixsynth_stream.pipeline.motion import Expected, Person

# Somebody of whom fewer joints lie in the picture is gone, though the network goes on to see its border as a person.
_LEAST_INSIDE = 3
# A region is looked at once more where its person is turned by more than this (radians), ...
_MOST_TURN = 0.3
# ... larger or smaller by these factors, as logarithms, or off its middle by this share of the side.
_MOST_GROWTH, _MOST_SHRINKING = np.log(1.25), np.log(0.8)
_MOST_OFFSET = 0.2
# ... or where the pose lies so far from the expected one, as a mean over the joints in body scales.
_MOST_SURPRISE = 0.6
# Where the second look disagrees still more than this with the first, one of them saw something else, ...
_UNSETTLED_TURN, _UNSETTLED_SIZE, _UNSETTLED_OFFSET = 0.6, np.log(1.5), 0.25
# ... and nobody turns or changes size like this from one keyframe to the next: a part of the body was seen.
_MOST_TUMBLE, _MOST_SWELL = 2.0, np.log(1.7)
# The detector confirms a region that lies as close to its own as this, in sides and as a logarithm.
_SAME_OFFSET, _SAME_SIZE = 0.25, 0.5
# A person whom the detector does not see, and who has such scores on average, is a chair.
_LEAST_SCORE = 0.4
# What the detector sees in a tile or makes out of a few pixels is a stranger only if upright, within this angle, ...
_MOST_LEAN = 1.1
# ... and not many times as large as the tile. The others are branches and lamps.
_MOST_OF_TILE = 2.0


@dataclass
class _Sighting:
    """One person of a keyframe, and where the next look at them would be."""

    id: int  # of the track; negative: new
    person: Person
    region: Region
    is_settled: bool
    is_confirmed: bool = False  # by the detector, at this keyframe


class FollowingEstimator:
    """Poses of up to `max_people` people by an `Eye`, which looks where a stream expects them.

    `expected` says where that is; without it, people are expected where they were in the call before. A frame of
    another size, or of an earlier time, begins a new video.
    """

    follows = True

    def __init__(self, eye: Eye, *, max_people: int = 1) -> None:
        if max_people < 1:
            raise ValueError(f"max_people must be at least 1, found {max_people}")
        self.skeleton = eye.skeleton
        self.max_people = max_people
        self._eye = eye
        self._search = Search(max_people=max_people)
        self._changes = Changes()
        self._figure = Figure(eye.skeleton, width=eye.width)
        self._sides = Sides(self._figure)
        self.forget()

    def forget(self) -> None:
        """Forget everybody: the next frame is the first of a scene."""
        self._search.reset()
        self._changes.reset()
        self._sides.reset()
        self._chairs: set[int] = set()  # those of whom the detector saw nothing
        self._before: list[Person] = []
        self._size: tuple[int, int] | None = None
        self._last_s = -np.inf

    def __call__(
        self,
        rgb: np.ndarray,  # [H, W, 3] uint8
        time_s: float,
        *,
        expected: Expected | None = None,
    ) -> list[Person]:
        """The people in one frame: those expected first, in that order, then others."""
        size = checked_rgb(rgb).shape[:2]
        if self._size is not None and (size != self._size or time_s < self._last_s):
            self.forget()
        self._size, self._last_s = size, time_s
        poses = self._expectation(expected)
        self._sides.keep(set(poses))
        self._chairs &= poses.keys()
        sightings, lost = self._look_at(rgb, poses)
        sightings, is_doubtful = _each_once(sightings, poses, self._figure)
        self._look_for(rgb, time_s, sightings, lost, is_doubtful)
        self._before = [sighting.person for sighting in sightings]
        return list(self._before)

    def _expectation(self, expected: Expected | None) -> dict[int, np.ndarray]:
        """Poses [J, 2] by id."""
        if expected is None:
            return {one: person.pose for one, person in enumerate(self._before)}
        return {int(one): pose for one, pose in zip(expected.ids, expected.poses, strict=True)}

    def _look_at(self, rgb: np.ndarray, poses: dict[int, np.ndarray]) -> tuple[list[_Sighting], list[Region]]:
        """Those who are where they are expected, and where the others were."""
        sightings, lost = [], []
        for one, pose in poses.items():
            region = self._figure.region(pose, rgb)
            if region is None or not _is_in_picture(region, rgb):
                continue
            sighting = self._look(rgb, region, one, pose)
            if sighting is None or self._figure.joints_inside(sighting.person.pose, rgb) < _LEAST_INSIDE:
                lost.append(region)
            elif one not in self._chairs or self._figure.score(sighting.person) >= _LEAST_SCORE:
                self._chairs.discard(one)
                sighting.person = self._sides.settled(sighting.person, one, pose)
                sightings.append(sighting)
        return sightings, lost

    def _look(self, rgb: np.ndarray, region: Region, one: int, expected: np.ndarray | None = None) -> _Sighting | None:
        """One look at a region, and a second one where the person lies differently in it."""
        person = self._eye.look(rgb, region)
        own = None if person is None else self._figure.region(person.pose, rgb)
        if person is None or own is None:
            return None
        is_surprise = expected is not None and self._figure.distance(person.pose, expected) > _MOST_SURPRISE
        if not is_surprise and _agrees(region, own, _MOST_TURN, _MOST_GROWTH, _MOST_SHRINKING, _MOST_OFFSET):
            return _Sighting(one, person, own, is_settled=True)
        person = self._eye.look(rgb, own)
        second = None if person is None else self._figure.region(person.pose, rgb)
        if person is None or second is None:
            return None
        is_settled = _agrees(own, second, _UNSETTLED_TURN, _UNSETTLED_SIZE, -_UNSETTLED_SIZE, _UNSETTLED_OFFSET)
        if expected is not None:
            is_settled &= abs(region.turn(second)) < _MOST_TUMBLE and abs(region.growth(second)) < _MOST_SWELL
        return _Sighting(one, person, second, is_settled)

    def _look_for(
        self, rgb: np.ndarray, time_s: float, sightings: list[_Sighting], lost: list[Region], is_doubtful: bool
    ) -> None:
        """Search, where the schedule says so; people who are new, or lie otherwise than followed, go to `sightings`."""
        followed = {sighting.id: sighting.region for sighting in sightings}
        is_doubtful |= any(not sighting.is_settled for sighting in sightings)
        has_changed = len(followed) < self.max_people
        if has_changed:
            has_changed = self._changes.move_on(rgb, list(followed.values()))
        else:
            self._changes.reset()
        doubted = [sighting.id for sighting in sightings if self._figure.score(sighting.person) < _LEAST_SCORE]
        expectations = len(followed) + len(lost)
        for part in self._search.parts(
            rgb.shape[:2],
            time_s,
            followed,
            lost,
            is_doubtful=is_doubtful,
            has_changed=has_changed,
            doubted=doubted,
        ):
            self._take_in(rgb, part, self._eye.find(rgb, part), sightings, lost)
            for sighting in sightings:
                if sighting.is_confirmed:
                    self._search.confirm(sighting.id, time_s)
            if len(sightings) >= min(self.max_people, max(expectations, 1)) and all(s.is_settled for s in sightings):
                break

    def _take_in(
        self,
        rgb: np.ndarray,
        part: Region | None,
        regions: Sequence[Region],
        sightings: list[_Sighting],
        lost: list[Region],
    ) -> None:
        """Compare what the detector sees in a part of the picture with those who are followed there."""
        others = []
        for region in regions:
            same = [s for s in sightings if not s.is_confirmed and _is_same(s.region, region)]
            if same:
                min(same, key=lambda s: s.region.offset(region)).is_confirmed = True
            elif not any(_is_same(s.region, region) for s in sightings):
                others.append(region)
        for region in others:
            self._take_in_one(rgb, part, region, sightings, lost)
        for sighting in list(sightings):
            is_shown = _is_large(sighting.region, part, rgb) and covers(part, sighting.region, rgb.shape[:2])
            if is_shown and not sighting.is_confirmed and self._figure.score(sighting.person) < _LEAST_SCORE:
                sightings.remove(sighting)
                self._chairs.add(sighting.id)

    def _take_in_one(
        self, rgb: np.ndarray, part: Region | None, region: Region, sightings: list[_Sighting], lost: list[Region]
    ) -> None:
        """Look at a region that the detector gives. Its person is new, or one who is followed wrongly."""
        wrong = [
            s
            for s in sightings
            if not s.is_confirmed and covers(part, s.region, rgb.shape[:2]) and s.region.holds(region.x, region.y)
        ]
        if not wrong and len(sightings) >= self.max_people:
            return
        is_large, is_known = part is None and _is_large(region, part, rgb), any(_is_back(region, one) for one in lost)
        if not (wrong or is_large or is_known or _is_likely(region, part)):
            return
        sighting = self._look(rgb, region, _new_id(sightings))
        if sighting is None or not sighting.is_settled:
            return
        if not (wrong or is_large or is_known) and not self._is_somebody(rgb, sighting):
            return
        double = [s for s in sightings if self._figure.distance(s.person.pose, sighting.person.pose) < SAME_PERSON]
        sighting.is_confirmed = True
        if double:
            double[0].is_confirmed = True
        elif wrong:
            if _is_large(region, part, rgb) and self._figure.score(sighting.person) > self._figure.score(
                wrong[0].person
            ):
                sighting.id = wrong[0].id
                sightings[sightings.index(wrong[0])] = sighting
        else:
            sightings.append(sighting)

    def _is_somebody(self, rgb: np.ndarray, stranger: _Sighting) -> bool:
        """Whether the detector sees a stranger once more, in a part of the picture that is centred on them."""
        if self._figure.score(stranger.person) < _LEAST_SCORE:
            return False
        regions = self._eye.find(rgb, around(stranger.region, rgb.shape[:2]))
        return any(_is_same(stranger.region, region) for region in regions)

    def close(self) -> None:
        """Free what the eye holds."""
        self._eye.close()

    def __enter__(self) -> FollowingEstimator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _new_id(sightings: Sequence[_Sighting]) -> int:
    return min([0, *(sighting.id for sighting in sightings)]) - 1


def _is_in_picture(region: Region, rgb: np.ndarray) -> bool:
    """Whether enough of a region lies in the picture to look at it."""
    reach = region.side / 4
    return -reach < region.x < rgb.shape[1] + reach and -reach < region.y < rgb.shape[0] + reach


def _is_large(region: Region, part: Region | None, rgb: np.ndarray) -> bool:
    """Whether the detector saw enough of a person to be trusted more than a look at a place that was known."""
    return region.side >= LARGE * (max(rgb.shape[:2]) if part is None else part.side)


def _is_likely(region: Region, part: Region | None) -> bool:
    """Whether somebody who is small, or shown in a part only, may be where the detector says."""
    return abs(region.angle) < _MOST_LEAN and (part is None or region.side < _MOST_OF_TILE * part.side)


def _is_back(region: Region, lost: Region) -> bool:
    """Whether somebody who was expected elsewhere, or was overlooked there, may be in this region."""
    is_alike = abs(lost.turn(region)) < _MOST_TUMBLE and abs(lost.growth(region)) < _MOST_SWELL
    return is_alike and lost.offset(region) < 1.0


def _agrees(region: Region, other: Region, turn: float, growth: float, shrinking: float, offset: float) -> bool:
    is_near = region.offset(other) <= offset and abs(region.turn(other)) <= turn
    return is_near and shrinking <= region.growth(other) <= growth


def _is_same(region: Region, other: Region) -> bool:
    return region.offset(other) < _SAME_OFFSET and abs(region.growth(other)) < _SAME_SIZE


def _each_once(
    sightings: list[_Sighting], poses: dict[int, np.ndarray], figure: Figure
) -> tuple[list[_Sighting], bool]:
    """Where two regions follow one person, the one who was expected closer by. Also: whether there were any such."""
    kept: list[_Sighting] = []
    by_surprise = sorted(sightings, key=lambda one: figure.distance(one.person.pose, poses[one.id]))
    for sighting in by_surprise:
        if all(figure.distance(sighting.person.pose, other.person.pose) > SAME_PERSON for other in kept):
            kept.append(sighting)
    ids = {sighting.id for sighting in kept}
    return [sighting for sighting in sightings if sighting.id in ids], len(kept) < len(sightings)

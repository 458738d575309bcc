"""Search: where in a picture to look for people who are not followed, and when to check those who are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from mixsynth_stream.pipeline.estimators.region import Region

# While fewer people are followed than may be, somebody else is looked for so often. Longer, and people are missed.
_SEARCH_S = 1.0
# Where nobody new comes and nothing else moves, the pause between two searches doubles up to this.
_LONGEST_PAUSE_S = 4.0
# Those who are followed are checked so often, because a landmark network does not warn of a region that is wrong.
_CHECK_S = 2.0
# Where the region keeps the size that the detector confirmed, within this logarithm, it can wait: a region that is far
# too large gives other bodies, and a body without a person low scores, which are doubted within a second.
_STEADY_CHECK_S, _STEADY_SIZE = 4.0, math.log(1.25)
# Whom the detector overlooks, bent double or half hidden, or who looks like a chair, is checked so often.
_DOUBT_S = 1.0
# Somebody who was lost is looked for at each keyframe for so long: who was hidden comes out again.
_LOST_S = 2.5
# At the first keyframes of a stream somebody else is looked for each time, and at all of its first second.
_FIRST_KEYFRAMES, _FIRST_S = 3, 1.0
# Tiles overlap by a third: a person up to a third of a tile's height lies whole in one of them.
_TILE_STEP = 2 / 3
# Times are sums of parts of a second: this little too early is on time.
_TICK_S = 1e-6
# Tiles smaller than this share of the picture's longer side would show specks as people, and more clutter than people.
_LEAST_TILE = 0.2
# A picture that is nearly square needs no tiles as large as its shorter side.
_NEARLY_SQUARE = 1.2
# The part of the picture around somebody, in sides of their region. The detector finds people down to a sixth of it.
_AROUND = 1.6
# Where the picture has no room for a part of so many sides, all of it is searched.
_LEAST_AROUND = 1.2
# Somebody who is so large, in shares of the picture's longer side, is checked by a search of the whole picture.
LARGE = 0.3


class Search:
    """The schedule of a search, by keyframes and their times alone. A part is an upright square; None: all of it."""

    def __init__(self, *, max_people: int) -> None:
        self._max_people = max_people
        self.reset()

    def reset(self) -> None:
        """Begin a new video."""
        self._keyframes = 0
        self._first_s = math.inf
        self._turn = 0  # the tile in the middle comes first
        self._is_tiles_turn = False
        self._searched_s = -math.inf
        self._pause_s = _SEARCH_S
        self._lost_s = -math.inf
        self._people_before = 0  # how many there were when somebody was lost
        self._checked_s: dict[int, float] = {}  # those who are followed: when the detector last looked for them
        self._followed: dict[int, Region] = {}  # their regions at this keyframe, ...
        self._confirmed: dict[int, Region] = {}  # and when the detector saw them last
        self._overlooked: set[int] = set()  # whom it did not see then

    def confirm(self, person_id: int, time_s: float) -> None:
        """The detector saw somebody where this person is followed."""
        self._checked_s[person_id] = time_s
        self._overlooked.discard(person_id)
        if person_id in self._followed:
            self._confirmed[person_id] = self._followed[person_id]

    def parts(
        self,
        picture: tuple[int, int],  # height and width
        time_s: float,
        followed: dict[int, Region],  # by id: those who were seen at this keyframe
        lost: Sequence[Region],  # where others were expected
        *,
        is_doubtful: bool = False,
        has_changed: bool = True,  # beside those who are followed
        doubted: Collection[int] = (),  # those who may be chairs
    ) -> Iterator[Region | None]:
        """The parts to search at this keyframe, in order. Whoever searches may stop where everybody is there."""
        self._first_s = min(self._first_s, time_s)
        is_first = self._keyframes == 0
        is_early = self._keyframes < _FIRST_KEYFRAMES or time_s < self._first_s + _FIRST_S - _TICK_S
        self._keyframes += 1
        if lost:
            self._lost_s, self._people_before = time_s, len(followed) + len(lost)
        if lost or has_changed or not self._checked_s.keys() >= followed.keys():
            self._pause_s = _SEARCH_S
        self._checked_s = {one: self._checked_s.get(one, time_s) for one in followed}
        self._overlooked &= followed.keys()
        self._followed = dict(followed)
        self._confirmed = {one: region for one, region in self._confirmed.items() if one in followed}
        is_due = is_early or time_s - self._searched_s >= self._pause_s - _TICK_S
        is_short = len(followed) < self._max_people
        is_lost = time_s - self._lost_s < _LOST_S and len(followed) < self._people_before
        nearby = list(dict.fromkeys([*(around(region, picture) for region in lost), None]))
        if not followed:
            yield from nearby
            if is_first:
                yield from tiles(picture)
            elif has_changed or is_lost or is_due:
                self._note_search(time_s, is_fruitless=not is_early)
                yield self._next_tile(picture)
        elif is_doubtful or (is_lost and is_short):
            self._searched_s = time_s
            yield from nearby
        elif is_short and is_due:
            self._note_search(time_s, is_fruitless=not is_early)
            yield self._next_part(picture)
        else:
            soon = self._overlooked.union(doubted)
            due_s = {one: seen_s + self._pause_of(one, soon) for one, seen_s in self._checked_s.items()}
            one = min(due_s, key=lambda one: due_s[one])
            if time_s >= due_s[one] - _TICK_S:
                self._checked_s[one] = time_s
                self._overlooked.add(one)
                is_large = followed[one].side >= LARGE * max(picture)
                yield None if is_short and is_large else around(followed[one], picture)

    def _pause_of(self, person_id: int, soon: Collection[int]) -> float:
        """How long the next check of somebody who is followed can wait, in seconds."""
        if person_id in soon:
            return _DOUBT_S
        seen = self._confirmed.get(person_id)
        is_steady = seen is not None and abs(seen.growth(self._followed[person_id])) < _STEADY_SIZE
        return _STEADY_CHECK_S if is_steady else _CHECK_S

    def _note_search(self, time_s: float, *, is_fruitless: bool) -> None:
        """Others are looked for. Where that gave nobody and nothing moves, the next time can wait longer."""
        self._searched_s = time_s
        if is_fruitless:
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _next_part(self, picture: tuple[int, int]) -> Region | None:
        """The whole picture and one of its tiles by turns."""
        self._is_tiles_turn = not self._is_tiles_turn
        return None if self._is_tiles_turn else self._next_tile(picture)

    def _next_tile(self, picture: tuple[int, int]) -> Region:
        parts = tiles(picture)
        self._turn += 1
        return parts[self._turn % len(parts)]


def tiles(picture: tuple[int, int]) -> list[Region]:  # height and width
    """Squares that cover the picture: as high as its shorter side, then half as high unless it is very long."""
    short, long = min(picture), max(picture)
    sides = [short, short / 2] if long > _NEARLY_SQUARE * short else [short / 2]
    sides = [side for side in sides if side >= _LEAST_TILE * long] or sides[:1]
    return [
        Region(float(x), float(y), side)
        for side in sides
        for y in _middles(picture[0], side)
        for x in _middles(picture[1], side)
    ]


def _middles(length: int, side: float) -> np.ndarray:
    """The middles of overlapping tiles along one side of the picture."""
    count = 1 + math.ceil((length - side) / (_TILE_STEP * side) - 1e-9)
    return np.linspace(side / 2, length - side / 2, count)


def around(region: Region, picture: tuple[int, int]) -> Region | None:
    """The upright part around a region, moved into the picture; None, the whole picture, where there is no room."""
    side = min(_AROUND * region.side, *picture)
    return None if side < _LEAST_AROUND * region.side else _inside(region, side, picture)


def covers(part: Region | None, region: Region, picture: tuple[int, int]) -> bool:
    """Whether a region's middle lies well within a part of the picture, as far as the picture has room around it."""
    if part is None:
        return True
    nearest = _inside(region, part.side, picture)
    reach = 0.35 * part.side
    return abs(nearest.x - part.x) < reach and abs(nearest.y - part.y) < reach


def _inside(region: Region, side: float, picture: tuple[int, int]) -> Region:
    """The upright square of that side around a region, moved into the picture."""
    y, x = (
        float(np.clip(at, side / 2, length - side / 2))
        for at, length in zip((region.y, region.x), picture, strict=True)
    )
    return Region(x, y, side)

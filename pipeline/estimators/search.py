"""Search: where in a picture to look for people who are not followed, and when to check those who are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from mixsynth_stream.pipeline.estimators.region import Region

# While fewer people are followed than may be, somebody else is looked for so often. Longer, and people are missed.
_SEARCH_S = 1.0
# Those who are followed are checked so often, because a landmark network does not warn of a region that is wrong.
_CHECK_S = 2.0
# Somebody who was lost is looked for at each keyframe for so long: who was hidden comes out again.
_LOST_S = 2.5
# At the first keyframes of a stream somebody else is looked for each time.
_FIRST_KEYFRAMES = 3
# Where nobody is followed, so many tiles are searched at a keyframe beside the whole picture. The first searches all.
_TILES_AT_ONCE = 1
# Tiles overlap by a third: a person up to a third of a tile's height lies whole in one of them.
_TILE_STEP = 2 / 3
# A picture that is nearly square needs no tiles as large as its shorter side.
_NEARLY_SQUARE = 1.2
# The part of the picture around somebody, in sides of their region. The detector finds people down to a sixth of it.
_AROUND = 1.6


class Search:
    """The schedule of a search, by keyframes and their times alone. A part is an upright square; None: all of it."""

    def __init__(self, *, max_people: int) -> None:
        self._max_people = max_people
        self.reset()

    def reset(self) -> None:
        """Begin a new video."""
        self._keyframes = 0
        self._turn = 0
        self._searched_s = -math.inf
        self._lost_s = -math.inf
        self._confirmed_s: dict[int, float] = {}

    def confirm(self, person_id: int, time_s: float) -> None:
        """The detector saw somebody where this person is followed."""
        self._confirmed_s[person_id] = time_s

    def doubt(self, person_id: int) -> None:
        """Nobody seems to be where this person is followed: check again at the next keyframe."""
        self._confirmed_s[person_id] = -math.inf

    def parts(
        self,
        picture: tuple[int, int],  # height and width
        time_s: float,
        followed: dict[int, Region],  # by id: those who were seen at this keyframe
        lost: Sequence[Region],  # where others were expected
        *,
        is_doubtful: bool,
    ) -> Iterator[Region | None]:
        """The parts to search at this keyframe, in order. Whoever searches may stop where everybody is there."""
        is_first, is_early = self._keyframes == 0, self._keyframes < _FIRST_KEYFRAMES
        self._keyframes += 1
        self._confirmed_s = {one: self._confirmed_s.get(one, time_s) for one in followed}
        if lost:
            self._lost_s = time_s
        is_due = is_early or time_s - self._searched_s >= _SEARCH_S - 1e-6
        if not followed:
            self._searched_s = time_s
            yield from (around(region, picture) for region in lost)
            yield None
            parts = tiles(picture)
            if not is_first:
                parts = [parts[(self._turn + i) % len(parts)] for i in range(min(_TILES_AT_ONCE, len(parts)))]
                self._turn += len(parts)
            yield from parts
        elif is_doubtful or (time_s - self._lost_s < _LOST_S and len(followed) < self._max_people):
            self._searched_s = time_s
            yield from (around(region, picture) for region in lost)
            yield None
        elif len(followed) < self._max_people and is_due:
            self._searched_s = time_s
            yield self._next_part(picture)
        else:
            one, seen_s = min(self._confirmed_s.items(), key=lambda item: item[1])
            if time_s - seen_s >= _CHECK_S - 1e-6:
                # Whom the detector overlooks, bent double or half hidden, is checked again after a second.
                self._confirmed_s[one] = max(seen_s, time_s - _CHECK_S + _SEARCH_S)
                yield around(followed[one], picture)

    def _next_part(self, picture: tuple[int, int]) -> Region | None:
        """The whole picture and one of its tiles by turns."""
        self._turn += 1
        parts = tiles(picture)
        return None if self._turn % 2 else parts[self._turn // 2 % len(parts)]


def tiles(picture: tuple[int, int]) -> list[Region]:  # height and width
    """Squares that cover the picture: as high as its shorter side, then half as high."""
    short, long = min(picture), max(picture)
    sides = [short, short / 2] if long > _NEARLY_SQUARE * short else [short / 2]
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


def around(region: Region, picture: tuple[int, int]) -> Region:
    """The upright part around a region, moved into the picture as far as it fits."""
    side = min(_AROUND * region.side, *picture)
    y, x = (
        float(np.clip(at, side / 2, length - side / 2))
        for at, length in zip((region.y, region.x), picture, strict=True)
    )
    return Region(x, y, side)


def covers(part: Region | None, region: Region) -> bool:
    """Whether a region's middle lies well within a part of the picture that was searched."""
    if part is None:
        return True
    reach = 0.35 * part.side
    return abs(region.x - part.x) < reach and abs(region.y - part.y) < reach

"""Search: which parts of a picture are searched at which keyframe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.estimators.search import Search, around, covers, tiles

HD = (1080, 1920)
PERSON = Region(900.0, 500.0, 400.0)


def schedule(
    search: Search,
    seconds: float,
    *,
    people: int,
    confirmed: bool = True,
    moves: Callable[[int], bool] = lambda _: True,
) -> list[list[Region | None]]:
    """The parts of each keyframe, three a second, while so many people are followed and nobody is in doubt."""
    followed = dict.fromkeys(range(people), PERSON)
    keyframes = []
    for k in range(round(seconds * 3)):
        parts = list(search.parts(HD, k / 3, followed, [], has_changed=moves(k)))
        keyframes.append(parts)
        for one in followed:
            if parts and confirmed:
                search.confirm(one, k / 3)
    return keyframes


@pytest.mark.parametrize("picture", [HD, (1920, 1088), (576, 768), (480, 640), (64, 64), (33, 1000)])
def test_tiles_lie_in_the_picture_and_hold_everybody_small(picture: tuple[int, int]):
    parts = tiles(picture)
    height, width = picture
    for part in parts:
        assert part.side / 2 <= part.x <= width - part.side / 2 + 1e-6
        assert part.side / 2 <= part.y <= height - part.side / 2 + 1e-6
    # A third of the height of the smallest tiles; in a very long picture there are none of half its shorter side.
    size = min(picture) / (6 if max(picture) <= 2.5 * min(picture) else 3)
    for x in np.linspace(size / 2, width - size / 2, 23):
        for y in np.linspace(size / 2, height - size / 2, 23):
            assert any(
                abs(part.x - x) + size / 2 <= part.side / 2 + 1e-6
                and abs(part.y - y) + size / 2 <= part.side / 2 + 1e-6
                for part in parts
            ), f"a person of {size:.0f} px at {x:.0f}, {y:.0f} lies whole in no tile"


def test_one_person_of_one_is_checked_after_two_seconds_then_every_four_and_not_searched_for():
    keyframes = schedule(Search(max_people=1), 15, people=1)
    checks = [k for k, parts in enumerate(keyframes) if parts]
    assert checks[0] == 6 and set(np.diff(checks)) == {12}
    assert all(keyframes[k] == [around(PERSON, HD)] for k in checks)


@pytest.mark.parametrize("scale", [0.7, 1.5, 2.5])
def test_a_region_of_another_size_than_the_detector_confirmed_is_checked_within_two_seconds(scale: float):
    search = Search(max_people=1)
    other = Region(PERSON.x, PERSON.y, PERSON.side * scale)
    checks = []
    for k in range(30):
        if list(search.parts(HD, k / 3, {0: PERSON if k < 10 else other}, [])):
            checks.append(k)
            search.confirm(0, k / 3)
    assert checks[:2] == [6, 12]


def test_while_fewer_are_followed_than_may_be_others_are_searched_every_second():
    keyframes = schedule(Search(max_people=2), 20, people=1)
    searches = [k for k, parts in enumerate(keyframes) if parts]
    assert searches[:3] == [0, 1, 2]
    assert set(np.diff(searches[2:])) == {3}
    parts = [keyframes[k][0] for k in searches]
    assert parts[::2] == [None] * len(parts[::2])  # by turns the whole picture and a tile
    assert len(set(parts[1::2])) == len(parts[1::2])


def test_where_nothing_moves_others_are_searched_ever_more_seldom_up_to_four_seconds():
    keyframes = schedule(Search(max_people=2), 30, people=1, moves=lambda _: False)
    times_s = [k / 3 for k, parts in enumerate(keyframes) if parts]
    # A search of the whole picture is also the check of somebody so large, who need not be checked besides.
    assert len([time_s for time_s in times_s if time_s > 10]) <= 20 / 4
    assert max(np.diff(times_s)) <= 4 + 1e-6
    tile_s = [k / 3 for k, parts in enumerate(keyframes) if parts and parts[0] is not None]
    assert len(tile_s) > 2


def test_something_that_moves_ends_the_long_pause():
    small = Region(900.0, 500.0, 200.0)
    search = Search(max_people=2)
    searches = []
    for k in range(90):
        search.confirm(0, k / 3)  # nobody has to be checked
        if list(search.parts(HD, k / 3, {0: small}, [], has_changed=k == 76)):
            searches.append(k / 3)
    quiet = [time_s for time_s in searches if time_s < 76 / 3]
    assert np.allclose(np.diff(quiet)[2:], [1, 2, *[4] * (len(quiet) - 5)], atol=0.01)
    assert 76 / 3 - 1e-6 <= min(set(searches) - set(quiet)) <= 76 / 3 + 1


def test_where_nobody_is_and_nothing_moves_the_whole_picture_is_searched_each_time_and_a_tile_seldom():
    first, *others = schedule(Search(max_people=1), 30, people=0, moves=lambda _: False)
    assert first == [None, *tiles(HD)]
    assert all(parts[0] is None for parts in others)
    assert 6 <= sum(len(parts) - 1 for parts in others) <= 14


def test_somebody_lost_who_is_back_is_not_searched_for_any_more():
    search = Search(max_people=4)
    for k in range(30):
        search.confirm(0, k / 3)
        list(search.parts(HD, k / 3, {0: PERSON}, [], has_changed=False))
    assert next(search.parts(HD, 10.0, {}, [PERSON], has_changed=False)) == around(PERSON, HD)
    counts = [len(list(search.parts(HD, 10 + k / 3, {0: PERSON}, [], has_changed=False))) for k in range(1, 6)]
    assert sum(counts) <= 2


def test_without_anybody_the_first_keyframe_searches_everything_and_others_a_tile_more():
    search = Search(max_people=1)
    first, *others = schedule(search, 10, people=0)
    assert first == [None, *tiles(HD)]
    assert all(parts[0] is None and len(parts) == 2 for parts in others)
    assert {part for parts in others for part in parts[1:]} == set(tiles(HD))


def test_the_lost_are_searched_around_their_place_first_and_for_a_while():
    search = Search(max_people=2)
    lost = Region(300.0, 500.0, 200.0)
    followed = {0: PERSON}
    assert list(search.parts(HD, 9.0, followed, [lost])) == [around(lost, HD), None]
    assert list(search.parts(HD, 9.3, followed, [])) == [None]
    counts = []
    for k in range(15):
        search.confirm(0, 9.6 + k / 3)
        counts.append(len(list(search.parts(HD, 9.6 + k / 3, followed, []))))
    assert counts[:5] == [1] * 5 and sum(counts[9:]) == 2  # then one search a second again


def test_somebody_whom_the_detector_overlooks_is_checked_every_second():
    keyframes = schedule(Search(max_people=1), 10, people=1, confirmed=False)
    checks = [k for k, parts in enumerate(keyframes) if parts]
    assert checks[0] == 6 and set(np.diff(checks)) == {3}


def test_a_doubted_person_is_checked_within_a_second():
    search = Search(max_people=1)
    assert not list(search.parts(HD, 0.0, {0: PERSON}, []))
    checks = [k for k in range(1, 16) if list(search.parts(HD, k / 3, {0: PERSON}, [], doubted=[0]))]
    assert checks == [3, 6, 9, 12, 15]


def test_a_reset_begins_anew():
    search = Search(max_people=1)
    schedule(search, 3, people=1)
    search.reset()
    assert list(search.parts(HD, 0.0, {}, [])) == [None, *tiles(HD)]


@pytest.mark.parametrize(
    "region", [Region(0, 0, 300), Region(1900, 1070, 600), Region(900, 500, 890), Region(-50, 500, 80)]
)
def test_the_part_around_somebody_lies_in_the_picture_and_covers_them(region: Region):
    part = around(region, HD)
    assert part is not None
    assert part.angle == 0 and part.side <= 1080
    assert part.side / 2 <= part.x <= 1920 - part.side / 2 and part.side / 2 <= part.y <= 1080 - part.side / 2
    assert covers(part, region, HD)


def test_the_whole_picture_is_searched_around_somebody_who_fills_it():
    assert around(Region(900.0, 500.0, 910.0), HD) is None
    assert around(Region(300.0, 900.0, 935.0), (1920, 619)) is None


def test_a_part_covers_those_whose_middle_lies_well_inside():
    part = Region(500.0, 500.0, 400.0)
    assert covers(None, PERSON, HD) and covers(part, Region(600.0, 450.0, 100.0), HD)
    assert not covers(part, Region(680.0, 500.0, 100.0), HD)


def test_in_the_first_second_others_are_looked_for_however_close_the_keyframes_are():
    search, followed = Search(max_people=2), {0: PERSON}
    searched = [bool(list(search.parts(HD, k / 10, followed, [], has_changed=False))) for k in range(15)]
    assert searched == [True] * 10 + [False] * 5

"""Pieces: whole pictures, as early as their end can be known, and never half of one for long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import pytest

from mixsynth_stream.pipeline.sources.live.pieces import Pieces

MTU = 1000
PARAMETERS, KEY, OTHER = 7, 5, 1  # kinds of units of H.264


def unit(kind: int, size: int) -> list[bytes]:
    """A unit of H.264 as FFmpeg gives it from RTP: a piece a network packet."""
    first = min(size, MTU)
    sizes = [first] + [MTU] * ((size - first) // MTU) + ([(size - first) % MTU] if (size - first) % MTU else [])
    head = b"\0\0\0\1" + bytes([kind])
    return [(head if place == 0 else b"") + b"\xff" * length for place, length in enumerate(sizes)]


def packet(data: bytes, pts: int) -> av.Packet:
    piece = av.Packet(data)
    piece.pts = pts
    return piece


class Feed:
    """Gives packets, and counts them."""

    def __init__(self, pictures: Iterable[list[bytes]]) -> None:
        self._pictures = list(pictures)
        self.newest = -1  # stamp of the newest packet

    def __iter__(self) -> Iterator[av.Packet]:
        for pts, pieces in enumerate(self._pictures):
            for piece in pieces:
                self.newest = pts
                yield packet(piece, pts)


def lateness(pictures: list[list[bytes]]) -> tuple[Pieces, list[int]]:
    """How many pictures later each comes; they come once each, with all their bytes, in order."""
    feed, pieces, stamps, late, sizes = Feed(pictures), Pieces("h264"), [], [], []
    for picture in pieces.join(feed):
        stamps.append(picture.pts)
        sizes.append(picture.size)
        late.append(feed.newest - (picture.pts or 0))
    assert sum(sizes) == sum(len(piece) for picture in pictures for piece in picture)
    assert stamps == sorted(stamps)
    return pieces, late


def test_a_picture_ends_with_a_short_piece() -> None:
    pieces, late = lateness([unit(KEY, 20_300), *(unit(OTHER, 2500 + 7 * n) for n in range(99))])
    assert len(late) == 100
    assert set(late[30:]) == {0}
    assert pieces.mistakes == 0


def test_a_picture_whose_last_piece_is_full_waits_for_the_next() -> None:
    _, late = lateness([unit(KEY, 20_300), *(unit(OTHER, 2500 if n != 50 else 3000) for n in range(99))])
    assert [place for place, lag in enumerate(late[30:-1], 30) if lag] == [51]


def test_slices_are_counted_by_kind_of_picture() -> None:
    key, other = unit(KEY, 3300) * 4, unit(OTHER, 1500) * 2
    _, late = lateness([key if n % 20 == 0 else other for n in range(100)])
    assert set(late[45:-1]) == {0}


@pytest.mark.parametrize("counts", [(1, 2, 3), (1, 1, 1, 2)])
def test_where_the_number_of_slices_changes_nothing_is_foretold(counts: tuple[int, ...]) -> None:
    pieces, late = lateness([unit(KEY, 5300), *(unit(OTHER, 1300) * counts[n % len(counts)] for n in range(300))])
    assert pieces.mistakes == 0
    assert set(late[:-1]) == {1}


def test_a_mistake_costs_one_picture() -> None:
    usual = [unit(OTHER, 1300) for _ in range(60)]
    pieces, late = lateness([unit(KEY, 5300), *usual, unit(OTHER, 1300) * 2, *usual])
    assert pieces.mistakes == 1
    assert len(late) == 123  # the rest of that picture comes by itself


def test_parameters_that_come_alone_go_with_the_next_picture() -> None:
    pictures = [unit(KEY, 5300), unit(PARAMETERS, 30), unit(OTHER, 1300), unit(PARAMETERS, 30), unit(OTHER, 1300)]
    _, late = lateness(pictures)
    assert len(late) == 3

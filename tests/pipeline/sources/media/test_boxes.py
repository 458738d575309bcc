"""BoxOrder: index before or behind the pictures, whatever the pieces in which the bytes come."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import clips

from mixsynth_stream.pipeline.sources.media.boxes import BoxOrder


def order(data: bytes, piece: int = 1 << 16) -> BoxOrder:
    boxes = BoxOrder()
    for start in range(0, len(data), piece):
        boxes.feed(data[start : start + piece])
    return boxes


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_where_the_index_is(tmp_path: Path, piece: int) -> None:
    front = order(clips.make(tmp_path / "front.mp4", frames=4).read_bytes(), piece)
    assert (front.is_mp4, front.has_index, front.index_is_behind) == (True, True, False)
    behind = clips.make(tmp_path / "behind.mov", frames=4).read_bytes()
    whole, cut = order(behind, piece), order(behind[: behind.index(b"moov") - 4], piece)
    assert (whole.is_mp4, whole.has_index, whole.index_is_behind) == (True, True, True)
    assert (cut.is_mp4, cut.has_index, cut.index_is_behind) == (True, False, True)
    assert whole.size == len(behind)


def test_sizes_of_eight_bytes_and_pictures_to_the_end_of_the_file() -> None:
    box = (24).to_bytes(8, "big")
    boxes = order(b"\0\0\0\1mdat" + box + bytes(8) + b"\0\0\0\x08moov")
    assert (boxes.has_index, boxes.index_is_behind) == (True, True)
    endless = order(b"\0\0\0\x08wide" + bytes(4) + b"mdat" + b"\0\0\0\x08moov")
    assert (endless.has_index, endless.index_is_behind) == (False, True)


@pytest.mark.parametrize("data", [b"RIFF\x10\0\0\0WEBP" * 4, b"no video at all, only text", b"\x47" * 400])
def test_other_files_are_no_mp4(data: bytes) -> None:
    assert order(data).is_mp4 is False

"""Coding: what a packet says of itself, by codec. Which pictures others need, and where decoding can begin.

Whoever leaves a packet out never hears whether it was damaged. So a packet has to look whole, else it counts as needed,
and the decoder judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import av

# H.264: slices, and units that say nothing of other pictures (SEI, delimiter, filler).
_H264_SLICES, _H264_IDR, _H264_ASIDE = (1, 5), 5, (6, 9, 12)
_SLICE_TYPES = 10  # of H.264
# HEVC: pictures that no other of their sub-layer needs (TRAIL, TSA, STSA, RADL, RASL), decoding begins anew, and asides
# (delimiter, filler, SEI, and what Dolby Vision adds to a picture).
_HEVC_FREE, _HEVC_IDR, _HEVC_ASIDE = (0, 2, 4, 6, 8), (19, 20), (35, 38, 39, 40, 62, 63)
_HEVC_PICTURES, _HEVC_VPS = 32, 32
# MPEG-2: start codes, and the picture type that is never a reference.
_PICTURE_START, _MPEG2_B = b"\0\0\1\0", 3
_START = b"\0\0\1"


class Kind(NamedTuple):
    """What is known of a packet."""

    is_whole: bool  # it looks undamaged, and changes nothing for other pictures but what they see of its own
    is_free: bool = False  # no other picture needs it
    is_start: bool = False  # nothing after it needs anything before it


NEEDED = Kind(False)
Judge = Callable[[av.Packet], Kind]


def judge_of(stream: av.VideoStream) -> Judge | None:
    """How to judge the packets of a stream; None for codecs of which all packets are decoded."""
    context = stream.codec_context
    data = bytes(context.extradata or b"")
    name = context.codec.canonical_name
    if name == "h264":
        return _H264(_length_size(data, 4)).kind
    if name == "hevc":
        top = _top_layer(data)
        return None if top is None else _Hevc(_length_size(data, 21), top).kind
    return {"mpeg2video": _mpeg2_kind, "mjpeg": _mjpeg_kind, "prores": _prores_kind, "dnxhd": _dnxhd_kind}.get(name)


def is_intra_only(stream: av.VideoStream) -> bool:
    """Whether every picture stands alone."""
    return stream.codec_context.codec.intra_only


class _H264:
    def __init__(self, length_size: int) -> None:
        self._length_size = length_size
        self._parameter_sets: set[int] = set()  # numbers of those in use

    def kind(self, packet: av.Packet) -> Kind:
        data, slices = memoryview(packet), []
        for start, end in _units(data, self._length_size):
            if end - start < 2 or data[start] & 0x80:
                return NEEDED
            unit = data[start] & 31
            if unit in _H264_SLICES:
                slices.append(start)
            elif unit not in _H264_ASIDE:
                return NEEDED
        headers = [_slice_header(data[start + 1 : start + 16]) for start in slices]
        if not headers or headers[0][0] != 0 or any(header[1] >= _SLICE_TYPES for header in headers):
            return NEEDED
        sets = {header[2] for header in headers}
        is_free = all(not data[start] & 0x60 for start in slices)
        if is_free and not sets <= self._parameter_sets:
            return NEEDED
        if not is_free:
            self._parameter_sets |= sets
        return Kind(True, is_free, all(data[start] & 31 == _H264_IDR for start in slices))


class _Hevc:
    def __init__(self, length_size: int, top: int) -> None:
        self._length_size = length_size
        self._top = top  # the highest sub-layer, of which nothing is needed by another

    def kind(self, packet: av.Packet) -> Kind:
        data = memoryview(packet)
        pictures: list[tuple[int, int]] = []  # their types and sub-layers
        for start, end in _units(data, self._length_size):
            if end - start < 3 or data[start] & 0x80:
                return NEEDED
            unit, layer = data[start] >> 1 & 63, (data[start] & 1) << 5 | data[start + 1] >> 3
            if unit < _HEVC_PICTURES and layer == 0:
                if not pictures and not data[start + 2] & 0x80:  # the first slice is that of the first block
                    return NEEDED
                pictures.append((unit, (data[start + 1] & 7) - 1))
            elif unit not in _HEVC_ASIDE:
                return NEEDED
        if not pictures:
            return NEEDED
        is_free = all(unit in _HEVC_FREE and layer == self._top for unit, layer in pictures)
        return Kind(True, is_free, all(unit in _HEVC_IDR for unit, _ in pictures))


def _units(data: memoryview, length_size: int) -> Iterator[tuple[int, int]]:
    """Where the units of a packet begin and end, by their lengths, or where `length_size` is 0 by start codes.

    Ends with an empty one where the lengths do not fit the packet.
    """
    if not length_size:
        raw = bytes(data)
        start = raw.find(_START)
        while start >= 0:
            following = raw.find(_START, start + 3)
            yield start + 3, following if following >= 0 else len(raw)
            start = following
        return
    place = 0
    while place < len(data):
        start = place + length_size
        place = start + int.from_bytes(data[place:start], "big")
        if place > len(data) or place == start:
            yield start, start
            return
        yield start, place


def _length_size(extradata: bytes, place: int) -> int:
    """Bytes of a unit's length, as the container's header says; 0 where units begin with start codes."""
    has_lengths = len(extradata) > place and extradata[0] == 1
    return (extradata[place] & 3) + 1 if has_lengths else 0


def _top_layer(extradata: bytes) -> int | None:
    """The highest temporal sub-layer that a video parameter set of HEVC names; None where there is none."""
    tops = set()
    if len(extradata) > 22 and extradata[0] == 1:
        place = 23
        for _ in range(extradata[22]):
            kind, count = extradata[place] & 63 if place < len(extradata) else 0, extradata[place + 1 : place + 3]
            place += 3
            for _ in range(int.from_bytes(count, "big")):
                length = int.from_bytes(extradata[place : place + 2], "big")
                if kind == _HEVC_VPS and length > 4:
                    tops.add(extradata[place + 5] >> 1 & 7)
                place += 2 + length
    else:
        for start, end in _units(memoryview(extradata), 0):
            if end - start > 4 and extradata[start] >> 1 & 63 == _HEVC_VPS:
                tops.add(extradata[start + 3] >> 1 & 7)
    return tops.pop() if len(tops) == 1 else None


def _slice_header(data: memoryview) -> tuple[int, int, int]:
    """The first three numbers of a slice of H.264: its first block, its type, its picture parameter set."""
    bits = int.from_bytes(bytes(data).replace(b"\0\0\3", b"\0\0"), "big")
    length = 8 * len(bytes(data).replace(b"\0\0\3", b"\0\0"))
    numbers = []
    for _ in range(3):
        zeros = length - bits.bit_length()
        width = 2 * zeros + 1
        if width > length:
            return 1, _SLICE_TYPES, 0
        numbers.append((bits >> (length - width)) - 1)
        length -= width
        bits &= (1 << length) - 1
    return numbers[0], numbers[1], numbers[2]


def _mpeg2_kind(packet: av.Packet) -> Kind:
    data = bytes(packet)
    place, types = data.find(_PICTURE_START), []
    if not data.startswith(_START) or place < 0:
        return NEEDED
    while place >= 0 and place + 5 < len(data):
        types.append(data[place + 5] >> 3 & 7)
        place = data.find(_PICTURE_START, place + 4)
    return Kind(True, bool(types) and all(kind == _MPEG2_B for kind in types) and data.startswith(_PICTURE_START))


def _mjpeg_kind(packet: av.Packet) -> Kind:
    """A JPEG that has its size, its tables and its end."""
    data = bytes(packet)
    if not data.startswith(b"\xff\xd8") or b"\xff\xd9" not in data[-64:]:
        return NEEDED
    place, markers = 2, set()
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        markers.add(marker)
        if marker == 0xDA:
            return _ALONE if {0xC0, 0xDB} <= markers else NEEDED
        place += 2 + length
    return NEEDED


def _prores_kind(packet: av.Packet) -> Kind:
    data = memoryview(packet)
    is_whole = len(data) > 28 and bytes(data[4:8]) == b"icpf" and int.from_bytes(data[:4], "big") <= len(data)
    return _ALONE if is_whole else NEEDED


def _dnxhd_kind(packet: av.Packet) -> Kind:
    data = memoryview(packet)
    return _ALONE if len(data) > 0x280 and bytes(data[:4]) == b"\0\0\2\x80" else NEEDED


_ALONE = Kind(True, True, True)

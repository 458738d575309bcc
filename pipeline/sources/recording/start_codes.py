"""Start codes in place of the lengths that H.264 and HEVC have in MP4 and FLV, so that players take a file of packets.

FFmpeg's own filters put parameter sets into packets, too, and what they made cannot be told from what was there.
"""

from __future__ import annotations

from collections.abc import Iterator

_START = b"\0\0\0\1"
_LENGTH = len(_START)


def parameter_sets(codec: str, extradata: bytes | None) -> bytes | None:
    """The parameter sets of a decoder, with start codes; None where its packets have no lengths of four bytes."""
    place = {"h264": 4, "hevc": 21}.get(codec)
    if place is None or not extradata or extradata[0] != 1 or len(extradata) <= place + 1 or extradata[place] & 3 != 3:
        return None
    try:
        return b"".join(_START + one for one in (_of_h264 if codec == "h264" else _of_hevc)(extradata))
    except IndexError:  # it is cut off
        return None


def with_start_codes(packet: bytes) -> bytes | None:
    """A packet with a start code for each length; None where it would not come back as it was."""
    units, place = [], 0
    while place < len(packet):
        end = place + _LENGTH + int.from_bytes(packet[place : place + _LENGTH], "big")
        units.append(packet[place + _LENGTH : end])
        place = end
    coded = b"".join(_START + unit for unit in units)
    return coded if with_lengths(coded) == packet else None


def with_lengths(coded: bytes) -> bytes:
    """The packet of one with start codes."""
    return b"".join(len(unit).to_bytes(_LENGTH, "big") + unit for unit in coded.split(_START)[1:])


def _of_h264(extradata: bytes) -> Iterator[bytes]:
    """Those of an avcC box: a byte with the number of sets of each kind, two with the length of each."""
    place = 5
    for mask in (0x1F, 0xFF):
        count, place = extradata[place] & mask, place + 1
        for _ in range(count):
            size = _two(extradata, place)
            yield extradata[place + 2 : place + 2 + size]
            place += 2 + size


def _of_hevc(extradata: bytes) -> Iterator[bytes]:
    """Those of an hvcC box: its kinds, each with a byte for which, two for how many, and two for the length of each."""
    place = 23
    for _ in range(extradata[22]):
        count, place = _two(extradata, place + 1), place + 3
        for _ in range(count):
            size = _two(extradata, place)
            yield extradata[place + 2 : place + 2 + size]
            place += 2 + size


def _two(data: bytes, place: int) -> int:
    return data[place] << 8 | data[place + 1]

"""Stamps: the times that a stream itself has for its pictures. Some formats have none, or only those of decoding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Protocol, TypeVar

import av

from mixsynth_stream.pipeline.sources.timing.rates import is_raw

# So many packets with times that grow show that these are not the times of pictures that the decoder reorders.
_ENOUGH = 8


class Stamped(Protocol):
    """What has the time stamps of a picture, in its stream's unit."""

    @property
    def pts(self) -> int | None: ...
    @property
    def dts(self) -> int | None: ...
    @property
    def duration(self) -> int | None: ...


Picture = TypeVar("Picture", bound=Stamped)


def has_decoding_times(stream: av.VideoStream, packets: Sequence[av.Packet]) -> bool:
    """Whether a stream has the times of decoding only: AVI, and AVI or a raw stream that was copied into Matroska.

    The decoder must then run without threads, because a picture's `dts` is that of the packet that brought it out.
    """
    name, context = stream.container.format.name, stream.codec_context
    if name == "avi":
        return True
    stamps = [packet.pts for packet in packets if packet.pts is not None]
    if not stamps:
        return any(packet.dts is not None for packet in packets)
    # Where FFmpeg makes `dts` of good times in Matroska, they are the same for every picture.
    may_reorder = "matroska" in name and context.has_b_frames and context.codec.canonical_name in ("h264", "hevc")
    return may_reorder and len(stamps) >= _ENOUGH and all(a < b for a, b in pairwise(stamps))


def stamped(
    stream: av.VideoStream, pictures: Iterable[Picture], *, step_s: float, by_decoding: bool
) -> Iterator[tuple[Picture, float | None]]:
    """Every picture with its own time in seconds; None where it has none. `step_s`: its usual length."""
    unit_s = float(stream.time_base or 0)
    if is_raw(stream):
        return _of_durations(pictures, unit_s, step_s)
    if by_decoding:
        return _of_decoding(pictures, unit_s, step_s, from_zero=stream.container.format.name == "avi")
    return ((picture, None if picture.pts is None else picture.pts * unit_s) for picture in pictures)


def _of_durations(pictures: Iterable[Picture], unit_s: float, step_s: float) -> Iterator[tuple[Picture, float]]:
    """A raw stream's times, which FFmpeg would make up, are the sum of durations; film in a broadcast has two."""
    time_s = 0.0
    for picture in pictures:
        yield picture, time_s
        # Of a pair of fields only one field's duration is known.
        time_s += max((picture.duration or 0) * unit_s, step_s)


def _of_decoding(
    pictures: Iterable[Picture], unit_s: float, step_s: float, *, from_zero: bool
) -> Iterator[tuple[Picture, float | None]]:
    """The times of decoding. The last pictures come out without a packet, and so without such a time."""
    time_s, end_s = 0.0, -step_s  # of the next picture, and of the last one that had a time
    start_s = None if from_zero else 0.0
    shortest_s, own_s = inf, inf  # the step between two of them, and the last
    last = []
    for picture in pictures:
        if picture.dts is None and not from_zero:
            last.append(picture)
            continue
        if picture.dts is not None:
            start_s = picture.dts * unit_s if start_s is None else start_s
            before_s, own_s = own_s, picture.dts * unit_s - start_s
            if own_s > before_s:
                shortest_s = min(shortest_s, own_s - before_s)
                step_s = shortest_s  # an AVI may state twice its rate, that of its fields
            time_s = own_s
        yield picture, time_s
        end_s, time_s = time_s, time_s + step_s
    stamps_s = sorted(picture.pts * unit_s for picture in last if picture.pts is not None)
    if len(stamps_s) < len(last) or (last and stamps_s[0] <= end_s):
        # Their own times are those of other pictures, of which the latest is right in any case.
        latest_s = max(stamps_s, default=end_s)
        share_s = (latest_s - end_s) / len(last) if latest_s > end_s else step_s
        stamps_s = [end_s + (k + 1) * share_s for k in range(len(last))]
    yield from zip(last, stamps_s, strict=True)

"""`missing_part`: what a file's own tables list and the file does not hold, in words.

Durations prove nothing: the last frame may be held, sound may go on, and a tag may be that of another file.
"""

from __future__ import annotations

from typing import IO

import av

from mixsynth_stream.pipeline.sources.media.medium import Medium

# Sizes written by a recorder that cannot go back to the start of its file.
_OPEN_RIFF = (0, 0x7FFFFFFF, 0xFFFFFFFF)
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEAD_BYTES, _ASF_BROADCAST = 1 << 16, 1
# Elements of Matroska. Blocks have the frames, and a cluster has the blocks of some seconds.
_SEGMENT, _CLUSTER, _BLOCKS = 0x18538067, 0x1F43B675, (0xA0, 0xA3)


def missing_part(stream: av.VideoStream, packets: int, medium: Medium, size: int) -> str:
    """How much of a file is there; "" where nothing is known to be missing.

    `packets` of the stream were read, from a medium of `size` bytes, 0 or less where FFmpeg does not know that.
    """
    formats = set(stream.container.format.name.split(","))
    if "mp4" in formats:
        return _unread_samples(stream, packets, size)
    if not formats & {"matroska", "avi", "asf"} or 0 < stream.frames <= packets:
        return ""
    file = medium.beginning()
    size = max(size, medium.size)
    if file is None or size <= 0:
        return ""
    with file:
        if "matroska" in formats:
            return _matroska_break(file, size)
        return _shortfall(_riff_end(file, size) if "avi" in formats else _asf_end(file), size)


def _shortfall(end: int | None, size: int) -> str:
    return f"{size} of {end} bytes" if end is not None and size < end else ""


def _unread_samples(stream: av.VideoStream, packets: int, size: int) -> str:
    """An MP4 lists its samples with their places. Some that are there may not be read, of a second kind of picture."""
    samples = stream.index_entries
    if len(samples) <= packets or (size > 0 and all(sample.pos + sample.size <= size for sample in samples)):
        return ""
    return f"{packets} of {len(samples)} pictures"


def _riff_end(file: IO[bytes], size: int) -> int | None:
    """Where the last part of an AVI ends by its own words. A large AVI has several parts."""
    start, end = 0, None
    while start < size:
        file.seek(start)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length in _OPEN_RIFF:
            break
        end = start + length  # less than it should be, because some writers count these eight bytes, too
        start = end + 8 + length % 2
    return end


def _asf_end(file: IO[bytes]) -> int | None:
    """The size of a Windows Media file by its header. A broadcast states none."""
    head = file.read(_ASF_HEAD_BYTES)
    start = head.find(_ASF_PROPERTIES)
    if start < 0 or len(head) < start + 92 or head[start + 88] & _ASF_BROADCAST:
        return None
    return int.from_bytes(head[start + 40 : start + 48], "little") or None


def _matroska_break(file: IO[bytes], size: int) -> str:
    """Walks from element to element. One that ends behind the file's end is incomplete."""
    position, whole_end = 0, None
    while position < size:
        file.seek(position)
        identity, length = _number(file, marked=True), _number(file)
        start = file.tell()
        if identity is None or length is None:
            break
        end = None if length < 0 else start + length
        if identity == _SEGMENT:
            whole_end = end
        if identity == _SEGMENT or (identity == _CLUSTER and end is None):
            position = start
            continue
        if end is None:
            break
        if end > size:
            has_pictures = identity == _CLUSTER or identity in _BLOCKS
            # Else only the index is incomplete, which follows the pictures.
            return _shortfall(whole_end, size) or "its last part is incomplete" if has_pictures else ""
        position = end
    return _shortfall(whole_end, size)


def _number(file: IO[bytes], *, marked: bool = False) -> int | None:
    """The next number of EBML: its first bits say how long it is, and stay there if `marked`.

    None where the bytes end, -1 for all ones, which stand for an unknown size.
    """
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return None
    number = int.from_bytes(first + rest, "big")
    ones = (1 << 7 * width) - 1
    return number if marked else -1 if number & ones == ones else number & ones

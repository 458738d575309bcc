"""RecordedPictures: the pictures of a recording, decoded again from its packets."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import av

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import part_path
from mixsynth_stream.pipeline.sources.pixels.pictures import Shape
from mixsynth_stream.pipeline.sources.recording.codec import decoder_of
from mixsynth_stream.pipeline.sources.recording.raw import RawDecoder
from mixsynth_stream.pipeline.sources.recording.start_codes import with_lengths

# Records of the journal that say how pictures come about, by a key that no other has.
_KEYS = ("opened", "coded", "shape", "flush", "at_s")


def is_of_pictures(record: dict[str, Any]) -> bool:
    """Whether a record of the journal is for `RecordedPictures`."""
    return any(key in record for key in _KEYS)


class RecordedPictures:
    """Takes the records of a journal in order, and decodes the pictures that are read, with those before them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: deque[dict[str, Any]] = deque()  # that were not needed yet
        self._file: IO[bytes] | None = None
        self._opened: dict[str, Any] = {}
        self._decoder: av.VideoCodecContext | None = None
        self._raw: RawDecoder | None = None
        self._hidden: set[int] = set()  # time stamps of pictures that an edit list hides
        self._shapes: deque[tuple[int, Shape]] = deque()  # each from a picture on
        self._pictures: deque[av.VideoFrame] = deque()  # those of the newest packet that are left
        self._count = 0

    def add(self, record: dict[str, Any]) -> None:
        """Take the next record. Shapes are told after the packets of their pictures."""
        if "shape" in record:
            width, matrix = record["shape"]
            self._shapes.append((record["picture"], Shape(width, None if matrix is None else tuple(matrix))))
        else:
            self._records.append(record)

    def picture(self, number: int) -> tuple[av.VideoFrame, Shape]:
        """The picture of this number, which must be above that of the one before. `SourceError` where it is missing."""
        picture = None
        while self._count <= number and (self._pictures or self._records):
            if self._pictures:
                picture = self._pictures.popleft()
                self._count += 1
            else:
                self._pictures.extend(self._step(self._records.popleft()))
        if self._count <= number:
            picture = None
        while len(self._shapes) > 1 and self._shapes[1][0] <= number:
            self._shapes.popleft()
        if picture is None or not self._shapes:
            raise SourceError(
                f"{shown(self._folder)} is damaged: picture {number} of its journal is not in its video files; "
                "copy the recording again"
            )
        return picture, self._shapes[0][1]

    def close(self) -> None:
        """Close the video file."""
        if self._file is not None:
            self._file.close()

    def _step(self, record: dict[str, Any]) -> Iterator[av.VideoFrame]:
        if "opened" in record:
            self._open(record)
        elif "coded" in record:
            self._raw = RawDecoder(record["coded"], self._opened)
        elif "flush" in record:
            yield from self._shown(None)
        else:
            yield from self._packet(record)

    def _open(self, record: dict[str, Any]) -> None:
        self.close()
        path = self._folder / record["file"]
        path = path if path.is_file() else part_path(path)
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise SourceError(f"{shown(path)} is missing ({error.strerror}): copy the whole recording") from None
        self._opened, self._raw = record["opened"], None
        self._decoder = decoder_of(self._opened)
        self._hidden.clear()

    def _packet(self, record: dict[str, Any]) -> Iterator[av.VideoFrame]:
        assert self._file is not None
        data = self._file.read(record["size"])
        if zlib.crc32(data) != record["crc32"]:
            raise SourceError(
                f"{shown(self._file.name)} is damaged before byte {self._file.tell()}: copy the recording again"
            )
        if "start_codes_after" in record:
            data = with_lengths(data[record["start_codes_after"] :])
        if "extradata" in record:
            yield from self._shown(None)
            self._opened = self._opened | {"extradata": record["extradata"]}
            self._decoder = decoder_of(self._opened)
        packet = av.Packet(data if self._raw is None else self._raw.raw(data))
        packet.pts, packet.dts = record["pts"], record["dts"]
        if record.get("is_hidden"):
            self._hidden.add(record["pts"])
        yield from self._shown(packet)

    def _shown(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """The pictures of a packet that a live reader shows."""
        assert self._decoder is not None
        try:
            pictures = self._decoder.decode(packet)
        except av.error.FFmpegError:  # as it was when it was recorded
            return []
        return [picture for picture in pictures if not picture.is_corrupt and picture.pts not in self._hidden]

"""VideoReader: files and standard input, decoded packet by packet, damaged ones included."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import UNKNOWN_RATE_HZ, Frame, VideoInfo
from mixsynth_stream.pipeline.sources.container import ffmpeg_reason, open_container
from mixsynth_stream.pipeline.sources.medium import Medium, copy_of, medium_of
from mixsynth_stream.pipeline.sources.pictures import FrameMaker
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.times import TimeStamps
from mixsynth_stream.pipeline.sources.tracks import video_track

# A fixed number, so that a damaged file gives the same frames on every machine. On two cores, more threads take time
# from the estimator and fewer do not keep up.
_DECODER_THREADS = 3


class VideoReader(FrameSource):
    """A video file, a URL that serves one, or "-" (standard input).

    Damaged packets are skipped and counted (`corrupt_packets`), missing and backward time stamps are repaired and
    counted (`repaired_times`). A file that is cut off gives every readable frame, then raises `SourceError`.
    `track` chooses a video track, counted from 0. `spool` copies a pipe or a file on a web server first.
    """

    def __init__(
        self, source: str | os.PathLike[str] | Medium, *, track: int | None = None, spool: bool = False
    ) -> None:
        super().__init__()
        medium = source if isinstance(source, Medium) else medium_of(os.fspath(source))
        self._medium = copy_of(medium) if spool else medium
        self._name = self._medium.shown
        try:
            self._container = open_container(self._medium)
        except BaseException:
            self._medium.close()
            raise
        try:
            self._stream = video_track(self._container, self._name, track)
            # AVI holds no presentation times, and a pipe cannot be read again. Both are decoded without threads.
            self._avi = self._container.format.name == "avi"
            self._threads = 1 if self._avi or not self._medium.can_reopen else _DECODER_THREADS
            _set_threads(self._stream, self._threads)
            rate = self._stream.average_rate or self._stream.guessed_rate
            self._times = TimeStamps(1 / float(rate or UNKNOWN_RATE_HZ))
            self._frames: Iterator[Frame] = self._read()
            self._first: Frame | None = next(self._frames, None)
            if self._first is None:
                raise SourceError(f"{self._name} {self._emptiness()}")
            self.info = self._file_info(self._first)
        except BaseException:
            self.close()
            raise

    @property
    def is_local(self) -> bool:
        """Whether this is a file on a disk, and not what a server or another program sends."""
        return self._medium.is_local

    @property
    def is_endless(self) -> bool:
        """Whether a server sends this without end: it has no duration, and either no size or a list of segments."""
        container = self._container
        segments = container.format.name in ("hls", "dash")
        return self.info.duration_s is None and (segments or container.size <= 0)

    def __next__(self) -> Frame:
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return next(self._frames)

    def stop(self) -> None:
        self._medium.stop()

    def close(self) -> None:
        self._frames = iter(())
        self._first = None
        self._container.close()
        self._medium.close()

    def _file_info(self, first: Frame) -> VideoInfo:
        stream, container = self._stream, self._container
        duration_s = None
        if stream.duration is not None and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration_s = container.duration / 1e6
        rate_hz = 1 / self._times.step_s
        count = stream.frames or (None if duration_s is None else round(duration_s * rate_hz))
        return VideoInfo(
            source=self._medium.name,
            width=first.width,
            height=first.height,
            rate_hz=rate_hz,
            duration_s=duration_s,
            frame_count=count,
            has_audio=bool(container.streams.audio),
            time_base=stream.time_base or Fraction(1, 90_000),
        )

    def _emptiness(self) -> str:
        """Why there is not one frame, as the rest of a sentence."""
        diagnosis = self._medium.diagnosis() if "webp" in self._container.format.name else ""
        return diagnosis or "has a video stream but not one frame in it: record or copy it again"

    def _read(self) -> Iterator[Frame]:
        unit_s = float(self._stream.time_base or 0)
        index, stamp, frame_of = -1, None, FrameMaker()
        for index, picture in enumerate(self._pictures()):
            stamp = self._avi_stamp(stamp, picture) if self._avi else picture.pts
            time_s = self._times.next(None if stamp is None else stamp * unit_s)
            if self._times.repaired:
                self.counters["repaired_times"] = self._times.repaired
            yield frame_of(picture, index, time_s)
        self._medium.raise_interruption()
        if self._cut_reason:
            diagnosis = "" if self._medium.can_reopen else self._medium.diagnosis()
            if diagnosis:
                raise SourceError(f"{self._name} {diagnosis}")
            place = f"after {index + 1} frames" if index >= 0 else "before its first frame"
            raise SourceError(
                f"{self._name} is cut off {place} ({self._cut_reason}): copy or record it again for the rest"
            )

    def _avi_stamp(self, last: int | None, picture: av.VideoFrame) -> int:
        """The stamp of a picture in an AVI, which stores only when it is decoded. Its time unit is one frame."""
        if last is None:
            self._avi_start = picture.dts or 0
            return 0
        return last + 1 if picture.dts is None else picture.dts - self._avi_start

    def _pictures(self) -> Iterator[av.VideoFrame]:
        """Every picture that can be decoded. Sets `_cut_reason`."""
        self._cut_reason = ""  # why the file counts as cut off; empty where it is whole
        # Pictures that the decoder holds back: the packets that it took, less the pictures that it gave.
        pending, end, last_pts = 0, 0, None
        for packet in self._packets():
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
            pictures = self._try_decode(packet)
            pending += pictures is not None
            for picture in pictures or ():
                pending, last_pts = pending - 1, picture.pts
                yield picture
        with suppress(av.error.FFmpegError):
            for picture in self._stream.decode(None):
                pending, last_pts = pending - 1, picture.pts
                yield picture
        if pending > 0 and self._threads > 1:
            yield from self._tail(last_pts)
        self._cut_reason = _shortfall(self._container, self._stream, end) or self._cut_reason

    def _packets(self) -> Iterator[av.Packet]:
        """The undamaged packets of the video. One that the end of the file cuts short is damaged."""
        damaged = False
        try:
            for packet in self._container.demux(self._stream):
                if packet.size == 0:  # a frame that the recorder left out, or the end
                    continue
                if damaged:
                    self._count("corrupt_packets")
                damaged = packet.is_corrupt
                if not damaged:
                    yield packet
        except av.error.FFmpegError as error:
            self._cut_reason = ffmpeg_reason(error)
        if damaged:
            self._cut_reason = "its last packet is incomplete"

    def _try_decode(self, packet: av.Packet, after: int | None = None) -> list[av.VideoFrame] | None:
        """The pictures of a packet; None, and a count, where it is corrupt. Packets up to `after` are not counted."""
        try:
            return packet.decode()
        except av.error.FFmpegError:
            if after is None or (packet.pts is not None and packet.pts > after):
                self._count("corrupt_packets")
            return None

    def _tail(self, after: int | None) -> Iterator[av.VideoFrame]:
        """The pictures after time stamp `after`: the end of the file, decoded once more without threads.

        A threaded decoder holds several pictures back, and loses them when a corrupt packet is among the last few.
        """
        if after is None:
            return
        with open_container(self._medium) as container:
            stream = container.streams.video[self._container.streams.video.index(self._stream)]
            _set_threads(stream, 1)
            container.seek(after, stream=stream)
            with suppress(av.error.FFmpegError):
                for packet in container.demux(stream):
                    if packet.size and not packet.is_corrupt:
                        yield from _pictures_after(after, self._try_decode(packet, after))
                yield from _pictures_after(after, stream.decode(None))


def _pictures_after(after: int, pictures: list[av.VideoFrame] | None) -> list[av.VideoFrame]:
    return [picture for picture in pictures or () if picture.pts is not None and picture.pts > after]


def _set_threads(stream: av.VideoStream, count: int) -> None:
    stream.thread_type = "AUTO" if count > 1 else "NONE"
    stream.codec_context.thread_count = count


def _shortfall(container: av.container.InputContainer, stream: av.VideoStream, end: int) -> str:
    """How much of the length in a file's header was read, in words; "" where nothing is known to be missing."""
    unit = float(stream.time_base or 0)
    formats = container.format.name.split(",")
    promised_s = None
    if "mp4" in formats and stream.frames and stream.duration:
        promised_s = ((stream.start_time or 0) + stream.duration) * unit
    elif "avi" in formats and stream.frames and stream.average_rate:
        promised_s = float(stream.frames / stream.average_rate)
    elif "matroska" in formats:
        clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
        promised_s = 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3]) if clock else None
    if promised_s is None:
        return ""
    read_s = end * unit
    slack_s = max(0.1, 3 / float(stream.average_rate or UNKNOWN_RATE_HZ))
    return f"{read_s:.1f} s of {promised_s:.1f} s" if promised_s - read_s > slack_s else ""

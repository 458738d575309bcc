"""VideoReader: files and standard input, decoded packet by packet, damaged ones included."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import islice
from math import inf

import av
from av.format import Flags

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import UNKNOWN_RATE_HZ, Frame, VideoInfo
from mixsynth_stream.pipeline.sources.media.container import ffmpeg_reason, open_container
from mixsynth_stream.pipeline.sources.media.medium import Medium, copy_of, medium_of
from mixsynth_stream.pipeline.sources.pixels.pictures import FrameMaker, refuse_tiles
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.sparse.coding import is_intra_only, judge_of
from mixsynth_stream.pipeline.sources.sparse.gaps import DoubtError, Gaps, LeftOut
from mixsynth_stream.pipeline.sources.sparse.late import LatePictures
from mixsynth_stream.pipeline.sources.sparse.plan import Entry, Needs, Plan
from mixsynth_stream.pipeline.sources.timing.missing import missing_part
from mixsynth_stream.pipeline.sources.timing.packets import Packets
from mixsynth_stream.pipeline.sources.timing.rates import is_raw, opening_rate_hz
from mixsynth_stream.pipeline.sources.timing.stamps import has_decoding_times, stamped
from mixsynth_stream.pipeline.sources.timing.times import TimeStamps
from mixsynth_stream.pipeline.sources.tracks import video_track

# A fixed number, so that a damaged file gives the same frames on every machine. On two cores, more threads take time
# from the estimator and fewer do not keep up.
_DECODER_THREADS = 3
# So many time stamps say what the rate is. A file has them at once; a pipe may be live, and its frames must not wait.
_STAMPS, _PACKETS, _PIPE_S = 20, 300, 0.5
# Decoded pictures may wait for a time stamp: some at any size, and more while they have no more pixels together.
_WAITING, _WAITING_PIXELS, _SMALL = 8, 1 << 26, 1 << 18
_UNKNOWN_COUNT = 1 << 30  # of an AVI whose recorder could not go back to its header
# Late pictures must not cost more than was left out, but for so many.
_LATE = 250


class VideoReader(FrameSource):
    """A video file, a URL that serves one, or "-" (standard input).

    Damaged packets are skipped and counted (`corrupt_packets`), missing and backward time stamps are repaired and
    counted (`repaired_times`). A file that is cut off gives every readable frame, then raises `SourceError`.
    `track` chooses a video track, counted from 0. `spool` copies a pipe or a file on a web server first. `container` is
    the medium where it is open already.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Medium,
        *,
        track: int | None = None,
        spool: bool = False,
        container: av.container.InputContainer | None = None,
    ) -> None:
        super().__init__()
        medium = source if isinstance(source, Medium) else medium_of(os.fspath(source))
        self._medium = copy_of(medium) if spool else medium
        self._name = self._medium.shown
        self._track = track
        self._plan: Plan | None = None
        self._gaps = Gaps()
        self._late = LatePictures(self._name, self._open_again)
        try:
            self._container = container or open_container(self._medium)
        except BaseException:
            self._medium.close()
            raise
        try:
            refuse_tiles(self._container, self._name)
            self._stream = video_track(self._container, self._name, track)
            packets = self._packets = Packets(self._container, self._stream)
            if self.is_local:
                ahead = packets.peek(_STAMPS, _PACKETS, inf)
            else:
                ahead = packets.peek(_STAMPS, 1 if is_raw(self._stream) else _STAMPS, _PIPE_S)
            # Times of decoding need a decoder without threads, and so does a pipe, which cannot be read again.
            self._by_decoding = has_decoding_times(self._stream, ahead)
            self._threads = 1 if self._by_decoding or not self._medium.can_reopen else _DECODER_THREADS
            _set_threads(self._stream, self._threads)
            self._rate_hz = opening_rate_hz(self._stream, ahead)
            self._frames: Iterator[Frame] = self._read()
            self._first: Frame | None = next(self._frames, None)
            if self._first is None:
                raise SourceError(f"{self._name} {self._emptiness()}")
            self._first_s = self._first.time_s
            self.info = self._file_info(self._first)
        except BaseException:
            self.close()
            raise

    @property
    def is_local(self) -> bool:
        """Whether this is a file on a disk, and not what a server or another program sends."""
        return self._medium.is_local

    def __next__(self) -> Frame:
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return next(self._frames)

    def read_sparsely(self, needs: Needs) -> None:
        stream = self._stream
        judge = judge_of(stream) if self._medium.can_share and not is_raw(stream) else None
        has_stamps = not self._by_decoding or is_intra_only(stream)
        if judge is not None and has_stamps and not self.counters:
            self._plan = Plan(judge, needs, float(stream.time_base or 0), self._first_s)

    def restart_needs(self, time_s: float) -> None:
        if self._plan is not None:
            self._plan.restart(time_s)

    @property
    def left_out(self) -> int:
        """How many pictures were not decoded so far."""
        return self._gaps.count

    @property
    def late(self) -> int:
        """How many pictures were decoded once more, because somebody read one that was left out."""
        return self._late.count

    def stop(self) -> None:
        self._medium.stop()

    def close(self) -> None:
        self._late.close()
        self._frames = iter(())
        self._first = None
        self._container.close()
        self._medium.close()

    def _file_info(self, first: Frame) -> VideoInfo:
        stream, container = self._stream, self._container
        count = stream.frames if 0 < stream.frames < _UNKNOWN_COUNT else None
        duration_s = None if is_raw(stream) or stream.frames >= _UNKNOWN_COUNT else _duration_s(container, stream)
        if count and duration_s and stream.average_rate:
            # An edit list hides frames, and its duration is that of the others.
            count = min(count, max(round(duration_s * stream.average_rate), 1))
        return VideoInfo(
            source=self._medium.name,
            width=first.width,
            height=first.height,
            rate_hz=self._rate_hz,
            duration_s=duration_s,
            frame_count=count,
            has_audio=bool(container.streams.audio),
            time_base=stream.time_base or Fraction(1, 90_000),
            stored_size=first.stored_size,
        )

    def _emptiness(self) -> str:
        """Why there is not one frame, as the rest of a sentence."""
        diagnosis = self._medium.diagnosis() if "webp" in self._container.format.name else ""
        return (
            diagnosis
            or "has a video stream but not one frame that can be decoded (damaged or encrypted): copy it again"
        )

    def _read(self) -> Iterator[Frame]:
        """Every frame. A file that was read sparsely and gives cause for doubt is read anew from its beginning."""
        count = 0
        try:
            for frame in self._read_once():
                count += 1
                yield frame
        except DoubtError:
            self._reopen()
            yield from islice(self._read_once(), count, None)

    def _reopen(self) -> None:
        """Go back to the beginning, and leave out nothing any more."""
        self._container.close()
        self._container, self._stream = self._open_again()
        self._packets, self._plan, self._gaps = Packets(self._container, self._stream), None, Gaps()
        self.counters.clear()

    def _open_again(self) -> tuple[av.container.InputContainer, av.VideoStream]:
        container = open_container(self._medium)
        stream = video_track(container, self._name, self._track)
        _set_threads(stream, self._threads)
        return container, stream

    def _read_once(self) -> Iterator[Frame]:
        index, step_s = -1, 1 / (self._rate_hz or UNKNOWN_RATE_HZ)
        pictures = stamped(self._stream, self._pictures(), step_s=step_s, by_decoding=self._by_decoding)
        context = self._stream.codec_context
        times: TimeStamps[av.VideoFrame | LeftOut] = TimeStamps(
            step_s,
            ahead=max(_WAITING_PIXELS // max(context.width * context.height, _SMALL), _WAITING),
            leaps=Flags.ts_discont in Flags(self._container.format.flags),
        )
        frame_of, before = FrameMaker(self._stream), None
        gap: list[tuple[LeftOut, int, float]] = []
        for index, (picture, time_s) in enumerate(times.of(pictures)):
            if times.repaired:
                self.counters["repaired_times"] = times.repaired
            if isinstance(picture, LeftOut):
                gap.append((picture, index, time_s))
                continue
            frame = frame_of(picture, index, time_s)
            yield from (self._frame_between(before or frame, frame, *place) for place in gap)
            gap.clear()
            before = frame
            yield frame
        self._medium.raise_interruption()
        if self._cut_reason:
            diagnosis = "" if self._medium.can_reopen else self._medium.diagnosis()
            if diagnosis:
                raise SourceError(f"{self._name} {diagnosis}")
            place = f"after {index + 1} frames" if index >= 0 else "before its first frame"
            raise SourceError(
                f"{self._name} is cut off {place} ({self._cut_reason}): copy or record it again for the rest"
            )

    def _frame_between(self, before: Frame, after: Frame, picture: LeftOut, index: int, time_s: float) -> Frame:
        """The frame of a picture that was left out between two others. Its size is theirs, if they have the same."""
        decode = partial(self._late.frame, picture.stamp, picture.start, index, time_s)
        sizes = {(frame.width, frame.height, frame.stored_size) for frame in (before, after)}
        return decode() if len(sizes) > 1 else Frame.left_out(before, index, time_s, decode)

    def _pictures(self) -> Iterator[av.VideoFrame | LeftOut]:
        """Every picture that can be decoded, or could be. Sets `_cut_reason`."""
        self._cut_reason = ""  # why the file counts as cut off; empty where it is whole
        # Pictures that the decoder holds back: the packets that it took, less the pictures that it gave.
        pending, last_pts, gaps = 0, None, self._gaps
        for packet, gap in self._planned(self._undamaged()):
            if gap is not None:
                gaps.leave_out(gap)
                continue
            gaps.expect(packet)
            pictures = self._try_decode(packet)
            gaps.refuse_doubt(pictures is not None)
            pending += pictures is not None
            for picture in pictures or ():
                pending, last_pts = pending - 1, picture.pts
                yield from gaps.filled(picture)
        with suppress(av.error.FFmpegError):
            for picture in self._stream.decode(None):
                pending, last_pts = pending - 1, picture.pts
                yield from gaps.filled(picture)
        gaps.refuse_doubt(gaps.is_complete)
        if pending > 0 and self._threads > 1 and not gaps.count:
            yield from self._tail(last_pts)
        missing = missing_part(self._stream, self._packets.count, self._medium, self._container.size)
        self._cut_reason = self._medium.failure or missing or self._cut_reason

    def _planned(self, packets: Iterator[av.Packet]) -> Iterator[tuple[av.Packet, Entry | None]]:
        """Every packet, and where it is not to be decoded its entry in the plan. There may be none, or not yet."""
        for packet in packets:
            yield packet, None
            if self._plan is not None:
                break
        if self._plan is None:
            return
        plan, gaps, context = self._plan, self._gaps, self._stream.codec_context
        is_h264 = context.codec.canonical_name == "h264"
        for entry, is_decoded in plan.entries(packets):
            # A decoder of H.264 that keeps fewer pictures back than it should loses some.
            loses = is_h264 and plan.most_reordered > context.reorder_depth
            is_sound = plan.is_sound and gaps.is_sound and not loses and not self.counters
            gaps.refuse_doubt(is_sound)
            if not is_sound or self._late.count > gaps.count + _LATE:
                plan.stop()
            yield entry.packet, None if is_decoded or not is_sound else entry

    def _undamaged(self) -> Iterator[av.Packet]:
        """The undamaged packets of the video. One that the end of the file cuts short is damaged."""
        damaged = False
        try:
            for packet in self._packets:
                if packet.size == 0:  # a frame that the recorder left out, or the end
                    continue
                if damaged:
                    self._count("corrupt_packets")
                damaged = packet.is_corrupt
                if not damaged:
                    yield packet
        except av.error.FFmpegError as error:
            # The last boundary of MIME parts, as IP cameras send them, has no part behind it.
            is_end = self._container.format.name == "mpjpeg" and isinstance(error, av.error.InvalidDataError)
            self._cut_reason = "" if is_end else ffmpeg_reason(error)
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


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """How long a stream is, by its container; None where that is not known."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None:
        return None
    if "matroska" not in container.format.name:
        return container.duration / 1e6
    # It says when it ends, with its sound; a tag of many muxers says when the pictures end.
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    end_s = 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3]) if clock else 0.0
    return (end_s or container.duration / 1e6) - (container.start_time or 0) / 1e6

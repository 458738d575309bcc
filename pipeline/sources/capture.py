"""LiveReader: a camera or a network stream, captured in a thread and opened again when it is lost.

Where the reader of the frames is slow, the oldest are dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import av

from mixsynth_stream.errors import SourceError
from mixsynth_stream.memory import keep_heaps_small
from mixsynth_stream.pipeline.frame import Frame, SourceEvent
from mixsynth_stream.pipeline.sources.live.opening import Opener, first_container, is_rtsp, live_info, opener_for
from mixsynth_stream.pipeline.sources.live.pace import Pace, pause_before
from mixsynth_stream.pipeline.sources.live.pieces import Pieces
from mixsynth_stream.pipeline.sources.live.playlist import seconds_behind
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.live.tap import Tap
from mixsynth_stream.pipeline.sources.media.container import ffmpeg_reason
from mixsynth_stream.pipeline.sources.pixels.pictures import FrameMaker
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.timing.clock import CaptureClock
from mixsynth_stream.pipeline.sources.tracks import video_track
from mixsynth_stream.redact import redacted

logger = logging.getLogger(__name__)

# Frames wait for the consumer for so long: a burst of them is taken in, and a slow consumer gets the newest.
_WAIT_S = 0.1
_LEAST_WAITING, _MOST_WAITING = 2, 30
# Closing waits no longer for a thread that FFmpeg holds.
_CLOSE_S = 0.3
_POLL_S = 0.1
# Lists of pieces of some seconds each, which are played at their own pace; all others as soon as they come.
_SEGMENTS = ("hls", "dash")


class LiveReader(FrameSource):
    """A camera ("webcam", "webcam:1", "webcam:NAME"), a network stream or a file played as one, as frames of *now*.

    A thread captures into a buffer; where the consumer is late by 0.1 s the oldest are dropped and counted
    (`dropped_consumer_behind`). The first frame is the newest when `read` is first called. A source that gives none for
    `silence_s` (that of the request by default) is lost. It is opened again with growing pauses (`reopened`), `retries`
    times in a row or for ever (None); then SourceError. `time_s` is when a picture was taken, by the source's stamps
    where these can be trusted, in seconds of this machine's clock since the first came. `track` chooses a video track,
    counted from 0; by default it is the one that players show. `request` says more of cameras and files. `container` is
    the source where it is open already. `tap` sees all packets.
    """

    def __init__(
        self,
        source: str,
        *,
        retries: int | None = None,
        silence_s: float | None = None,
        track: int | None = None,
        opener: Opener | None = None,
        pause_s: Callable[[int], float] | None = None,
        request: LiveRequest | None = None,
        container: av.container.InputContainer | None = None,
        tap: Tap | None = None,
    ) -> None:
        super().__init__()
        self._source = source
        self._tap = tap or Tap()
        self._request = request or LiveRequest()
        self._retries = 0 if self._request.is_paced else retries
        self._track = track
        self._silence_s = self._request.timeout_s if silence_s is None else silence_s
        self._open = opener or opener_for(source, self._silence_s, self._request)
        self._pause_s = pause_s or pause_before
        self._buffer: deque[Frame] = deque()
        self._changed = threading.Condition()  # of the buffer, the error or the closing
        self._closing = threading.Event()
        self._is_woken = self._is_read = False
        self._error: SourceError | None = None
        self._has_ended = False  # a file, at its end
        self._index = self._failures = 0  # failures to open it, in a row
        self._size: tuple[int, int] | None = None  # of the newest picture
        self.unread = 0  # pictures that came before the first one that was read, which is number 0
        self._start_s: float | None = None
        self._is_told = False  # whether a reader had its time to take the last events
        self._clock = CaptureClock()
        self._buffered_s = 0.0
        self._alive_s = time.perf_counter()
        container = container or first_container(
            self._open,
            source,
            self._pause_s,
            wait=self._request.wait,
            closing=self._request.closing,
            on_wait=self._request.on_wait,
        )
        self.info = live_info(source, container, track)
        keep_heaps_small()
        self._thread = threading.Thread(target=self._run, args=(container,), name="capture", daemon=True)
        self._thread.start()
        self._await_first_frame()

    def __next__(self) -> Frame:
        frame = None
        while frame is None:
            frame = self.read(1.0)
        return frame

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None where none came in time. StopIteration once closed, SourceError once it has given up."""
        with self._changed:
            self._changed.wait_for(self._has_news, timeout_s)
            self._is_woken = False
            if self._closing.is_set():
                raise StopIteration
            if self._buffer:
                self._drop_old()
                self._begin_reading()
                return self._buffer.popleft()
            if self._events and not self._is_told and (self._error or self._has_ended):
                self._is_told = True  # what led to the end is told before it
                return None
            if self._error:
                raise self._error
            if self._has_ended:
                raise StopIteration
        # A driver can hang where no time limit reaches it. The thread then hangs with it.
        if time.perf_counter() - self._alive_s > 3 * self._silence_s:
            raise SourceError(f"{self._source} hangs and does not answer: unplug it or stop it, and start again")
        return None

    def wake(self) -> None:
        """End a `read` that waits in another thread, or the next one that would wait."""
        with self._changed:
            self._is_woken = True
            self._announce()

    def _announce(self) -> None:
        """Tell whoever reads that there is something new. The lock is held."""
        self._changed.notify_all()
        self.on_news()

    def _has_news(self) -> bool:
        return bool(self._buffer or self._error or self._has_ended or self._is_woken or self._closing.is_set())

    def _begin_reading(self) -> None:
        """Number and time frames from the first one that is read. Those before it came while nobody was ready."""
        if self._is_read:
            return
        self._is_read, first = True, self._buffer[0]
        self.unread, shift_s = first.index, first.time_s
        for frame in self._buffer:
            frame.index -= self.unread
            frame.time_s -= shift_s
            frame.received_s = None if frame.received_s is None else frame.received_s - shift_s
        self._index -= self.unread
        self._start_s = (self._start_s or 0.0) + shift_s
        events = [
            replace(event, time_s=event.time_s - shift_s, index=event.index - self.unread)
            for event in self._events
            if event.index > self.unread
        ]
        self._events.clear()
        self._events.extend(events)

    @property
    def captured(self) -> int:
        """How many frames there were since the first one that was read: each was given, or dropped and counted."""
        return self._index

    def now_s(self) -> float | None:
        """The present, on the clock that `time_s` runs on; None before the first frame."""
        return None if self._start_s is None else time.perf_counter() - self._start_s

    def close(self) -> None:
        """End the capture. A thread that waits for a silent source ends later, by its own time limit."""
        if self._closing.is_set():
            return
        with self._changed:
            self._closing.set()
            self._count("dropped_at_end", len(self._buffer) if self._is_read else 0)
            self._buffer.clear()
            self._announce()
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_S)

    def _await_first_frame(self) -> None:
        """Wait until the first picture has told its size, or the source is silent for too long."""
        try:
            with self._changed:
                end_s = time.perf_counter() + self._silence_s
                while not (self._buffer or self._error or self._has_ended) and time.perf_counter() < end_s:
                    if self._request.closing is not None and self._request.closing.is_set():
                        raise SourceError(f"{self._source} was closed before its first picture: open it again")
                    self._changed.wait(_POLL_S)
        except BaseException:
            self.close()
            raise

    def _run(self, container: av.container.InputContainer | None) -> None:
        """What the thread does: capture until the source is lost, pause, open it again."""
        try:
            while not self._closing.is_set():
                reason = "it ended"
                try:
                    self._clock.restart()
                    with container or self._open() as container:
                        self._capture(container)
                    if self._request.is_paced:
                        self._end()
                        return
                except av.error.FFmpegError as error:
                    reason = ffmpeg_reason(error, self._source)
                except SourceError as error:
                    reason = str(error)
                container = None
                if self._closing.is_set():
                    return
                self._failures += 1
                if self._retries is not None and self._failures > self._retries:
                    raise SourceError(f"{self._source} was lost after {self._index} frames ({reason})")
                pause_s = self._pause_s(self._failures)
                logger.warning("%s was lost (%s); trying again in %g s", redacted(self._source), reason, pause_s)
                if self._failures == 1:
                    self._tell("lost", reason)
                self._wait(pause_s)
        except SourceError as error:
            self._give_up(error)
        except Exception as error:  # whatever it is, the consumer raises it
            self._give_up(SourceError(f"{self._source} cannot be captured any further: {error!r}"))

    def _tell(self, kind: str, about: str) -> None:
        """Put an event before the next frame, and wake whoever waits for one."""
        with self._changed:
            self._events.append(SourceEvent(kind, self.now_s() or 0.0, self._index, redacted(about)))
            self._is_woken = True
            self._announce()

    def _end(self) -> None:
        with self._changed:
            self._has_ended = True
            self._announce()

    def _capture(self, container: av.container.InputContainer) -> None:
        """Take the pictures of a source that is open, until it is lost."""
        stream = video_track(container, self._source, self._track)
        # Slice threads share one picture. Threads with a picture each would hold several back.
        stream.thread_type = "SLICE"
        if self._request.threads:
            stream.codec_context.thread_count = self._request.threads
        self._tap.opened(stream)
        unit_s = float(stream.time_base or 0)
        is_paced = self._request.is_paced or container.format.name in _SEGMENTS
        pace = Pace(unit_s) if is_paced else None
        is_hls = container.format.name == "hls"
        self._buffered_s = seconds_behind(self._source, self._silence_s) if is_hls else 0.0
        frame_of = FrameMaker(stream, mirror=self._request.mirror)
        last_s = time.perf_counter()
        for packet in self._packets(container, stream):
            now_s = self._alive_s = time.perf_counter()
            if self._closing.is_set():
                return
            self._tap.packet(packet, now_s)
            for picture in self._pictures(stream, packet):
                if pace is not None:
                    self._wait(pace.ahead_s(picture.pts))
                    now_s = time.perf_counter()
                last_s = now_s
                stamp_s = None if picture.pts is None else picture.pts * unit_s
                if self._failures:
                    self._count("reopened")
                    self._tell("back", "pictures come again")
                self._take(picture, self._clock.time_s(stamp_s, now_s), now_s, frame_of)
            if now_s - last_s > self._silence_s:
                raise av.error.TimeoutError(0, "no picture")

    def _packets(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet | None]:
        """The packets of the video, each with a whole picture; None where a file ends."""
        packets = container.demux(stream)
        yield from Pieces(stream.codec_context.name).join(packets) if is_rtsp(self._source) else packets
        if self._request.is_paced:
            yield None

    def _pictures(self, stream: av.VideoStream, packet: av.Packet | None) -> Iterator[av.VideoFrame]:
        """The pictures of a packet that can be shown. Others are counted."""
        try:
            pictures = stream.codec_context.decode(packet) if packet is None or packet.size else []
        except av.error.FFmpegError:
            self._count("corrupt_packets")
            return
        for picture in pictures:
            if picture.is_corrupt:
                self._count("corrupt_pictures")
            else:
                yield picture

    def _take(self, picture: av.VideoFrame, time_s: float, received_s: float, frame_of: FrameMaker) -> None:
        """Put a picture into the buffer, as a Frame with the next number; the oldest leaves a full one."""
        with self._changed:
            if self._closing.is_set():
                return
            if self._start_s is None:
                self._start_s = time_s
            start_s, shape = self._start_s, frame_of.shape_of(picture)
            self._tap.picture(shape)
            frame = frame_of.frame(picture, shape, self._index, time_s - start_s, received_s=received_s - start_s)
            frame.buffered_s = self._buffered_s
            size, before = (frame.width, frame.height), self._size
            if before is None:  # the first one completes `info`
                self.info = replace(self.info, width=frame.width, height=frame.height, stored_size=frame.stored_size)
            elif size != before:
                about = "{}x{} after {}x{}".format(*size, *before)
                self._events.append(SourceEvent("size", frame.time_s, frame.index, about))
            self._size = size
            self._index += 1
            self._failures = 0
            self._buffer.append(frame)
            self._drop_old()
            self._announce()

    def _drop_old(self) -> None:
        now_s = self.now_s() or 0.0
        while len(self._buffer) > _LEAST_WAITING and (
            len(self._buffer) > _MOST_WAITING or now_s - (self._buffer[0].received_s or 0.0) > _WAIT_S
        ):
            self._buffer.popleft()
            if self._is_read:
                self._count("dropped_consumer_behind")

    def _wait(self, seconds: float) -> None:
        """Wait, or return early when the reader is closed. A thread that waits does not count as hanging."""
        end_s = time.perf_counter() + seconds
        while (rest_s := end_s - time.perf_counter()) > 0 and not self._closing.wait(min(rest_s, 1.0)):
            self._alive_s = time.perf_counter()

    def _give_up(self, error: SourceError) -> None:
        with self._changed:
            self._error = error
            self._announce()

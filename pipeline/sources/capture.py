"""LiveReader: a camera or a network stream, captured in a thread and opened again when it is lost.

Where the reader of the frames is slow, the oldest are dropped.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import av

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.sources.media.container import ffmpeg_reason
from mixsynth_stream.pipeline.sources.media.waiting import interruptible
from mixsynth_stream.pipeline.sources.pixels.pictures import FrameMaker
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.timing.clock import CaptureClock
from mixsynth_stream.pipeline.sources.timing.rates import opening_rate_hz
from mixsynth_stream.pipeline.sources.tracks import video_track
from mixsynth_stream.redact import redacted

logger = logging.getLogger(__name__)

Opener = Callable[[], "av.container.InputContainer"]

SILENCE_S = 10.0  # a source that gives no frame for so long is lost
# Frames wait for the consumer for so long: a burst of them is taken in, and a slow consumer gets the newest.
_WAIT_S = 0.1
_LEAST_WAITING, _MOST_WAITING = 2, 30


class LiveReader(FrameSource):
    """A camera ("webcam", "webcam:1", "webcam:NAME") or a network stream, as frames of *now*.

    A thread captures into a buffer; where the consumer is late by 0.1 s the oldest are dropped and counted
    (`dropped_consumer_behind`). A lost source is opened again with growing pauses (`reopened`), `retries` times in a
    row or for ever (None); then SourceError. `time_s` is when a picture was taken, by the source's stamps where these
    can be trusted, in seconds of this machine's clock since the first came.
    `track` chooses a video track, counted from 0; by default it is the one that players show.
    """

    def __init__(
        self,
        source: str,
        *,
        retries: int | None = None,
        silence_s: float = SILENCE_S,
        track: int | None = None,
        opener: Opener | None = None,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        super().__init__()
        self._source = source
        self._retries = retries
        self._track = track
        self._silence_s = silence_s
        self._open = opener or opener_for(source, silence_s)
        self._pause_s = pause_s or pause_before
        self._buffer: deque[Frame] = deque()
        self._changed = threading.Condition()  # of the buffer, the error or the closing
        self._closing = threading.Event()
        self._is_woken = False
        self._error: SourceError | None = None
        self._index = 0
        self._start_s: float | None = None
        self._clock = CaptureClock()
        self._alive_s = time.perf_counter()
        try:
            container = interruptible(self._open)
            self.info = _live_info(source, container, track)
        except av.error.FFmpegError as error:
            raise SourceError(_live_failure(source, error)) from error
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
                return self._buffer.popleft()
            if self._error:
                raise self._error
        # A driver can hang where no time limit reaches it. The thread then hangs with it.
        if time.perf_counter() - self._alive_s > 3 * self._silence_s:
            raise SourceError(f"{self._source} hangs and does not answer: unplug it or stop it, and start again")
        return None

    def wake(self) -> None:
        """End a `read` that waits in another thread, or the next one that would wait."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def _has_news(self) -> bool:
        return bool(self._buffer or self._error or self._is_woken or self._closing.is_set())

    def now_s(self) -> float | None:
        """The present, on the clock that `time_s` runs on; None before the first frame."""
        return None if self._start_s is None else time.perf_counter() - self._start_s

    def close(self) -> None:
        """End the capture. A thread that waits for a silent source ends later, by its own time limit."""
        if self._closing.is_set():
            return
        with self._changed:
            self._closing.set()
            self._buffer.clear()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)

    def _await_first_frame(self) -> None:
        """Wait until the first picture has told its size, or the source is silent for too long."""
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._buffer or self._error, self._silence_s)
        except BaseException:
            self.close()
            raise

    def _run(self, container: av.container.InputContainer | None) -> None:
        """What the thread does: capture until the source is lost, pause, open it again."""
        failures = 0
        try:
            while not self._closing.is_set():
                try:
                    self._clock.restart()
                    with container or self._open() as container:
                        for frame in self._capture(container):
                            if failures:
                                self._count("reopened")
                            failures = 0
                            self._offer(frame)
                    reason = "it ended"
                except av.error.FFmpegError as error:
                    reason = ffmpeg_reason(error)
                container = None
                if self._closing.is_set():
                    return
                failures += 1
                if self._retries is not None and failures > self._retries:
                    raise SourceError(f"{self._source} was lost after {self._index} frames ({reason})")
                pause_s = self._pause_s(failures)
                logger.warning("%s was lost (%s); trying again in %g s", redacted(self._source), reason, pause_s)
                self._wait(pause_s)
        except SourceError as error:
            self._give_up(error)
        except Exception as error:  # whatever it is, the consumer raises it
            self._give_up(SourceError(f"{self._source} cannot be captured any further: {error!r}"))

    def _capture(self, container: av.container.InputContainer) -> Iterator[Frame]:
        stream = video_track(container, self._source, self._track)
        # Slice threads share one picture. Threads with a picture each would hold several back.
        stream.thread_type = "SLICE"
        # Streams that come in pieces of some seconds are played at their own pace; all others as soon as they come.
        pace = _Pace(float(stream.time_base or 0)) if container.format.name in ("hls", "dash") else None
        last_s, frame_of, unit_s = time.perf_counter(), FrameMaker(stream), float(stream.time_base or 0)
        for packet in container.demux(stream):
            now_s = self._alive_s = time.perf_counter()
            if self._closing.is_set():
                return
            try:
                pictures = packet.decode() if packet.size else []
            except av.error.FFmpegError:
                self._count("corrupt_packets")
                pictures = []
            for picture in pictures:
                if picture.is_corrupt:
                    self._count("corrupt_pictures")
                    continue
                if pace is not None:
                    self._wait(pace.ahead_s(picture.pts))
                    now_s = time.perf_counter()
                last_s = now_s
                stamp_s = None if picture.pts is None else picture.pts * unit_s
                yield self._stamp(picture, self._clock.time_s(stamp_s, now_s), now_s, frame_of)
            if now_s - last_s > self._silence_s:
                raise av.error.TimeoutError(0, "no picture")

    def _stamp(self, picture: av.VideoFrame, time_s: float, received_s: float, frame_of: FrameMaker) -> Frame:
        """A Frame with the next number, and times since the start. The first one completes `info`."""
        if self._start_s is None:
            self._start_s = time_s
        start_s = self._start_s
        frame = frame_of(picture, self._index, time_s - start_s, received_s=received_s - start_s)
        if self._index == 0:
            self.info = replace(self.info, width=frame.width, height=frame.height, stored_size=frame.stored_size)
        self._index += 1
        return frame

    def _offer(self, frame: Frame) -> None:
        """Put a frame into the buffer; the oldest leaves a full one."""
        with self._changed:
            self._buffer.append(frame)
            self._drop_old()
            self._changed.notify()

    def _drop_old(self) -> None:
        now_s = self.now_s() or 0.0
        while len(self._buffer) > _LEAST_WAITING and (
            len(self._buffer) > _MOST_WAITING or now_s - (self._buffer[0].received_s or 0.0) > _WAIT_S
        ):
            self._buffer.popleft()
            self._count("dropped_consumer_behind")

    def _wait(self, seconds: float) -> None:
        """Wait, or return early when the reader is closed. A thread that waits does not count as hanging."""
        end_s = time.perf_counter() + seconds
        while (rest_s := end_s - time.perf_counter()) > 0 and not self._closing.wait(min(rest_s, 1.0)):
            self._alive_s = time.perf_counter()

    def _give_up(self, error: SourceError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify()


class _Pace:
    """How far the time of pictures is ahead of a clock that starts with the first of them."""

    def __init__(self, unit_s: float) -> None:
        self._unit_s = unit_s
        self._start_s: float | None = None

    def ahead_s(self, pts: int | None) -> float:
        now_s, shown_s = time.perf_counter(), (pts or 0) * self._unit_s
        if self._start_s is None or shown_s - (now_s - self._start_s) > SILENCE_S:  # the first, or a jump in time
            self._start_s = now_s - shown_s
        return shown_s - (now_s - self._start_s)


def pause_before(attempt: int) -> float:
    """Seconds to wait before a lost source is opened again, by the number of the attempt in a row."""
    if attempt <= 5:
        return 1.0
    return 5.0 if attempt <= 10 else 10.0 if attempt <= 20 else 60.0


def opener_for(source: str, silence_s: float) -> Opener:
    """A function that opens the camera or stream, with a time limit for every wait."""
    timeout = (silence_s, silence_s)
    kind, _, camera = source.partition(":")
    if kind != "webcam":
        options = {"fflags": "nobuffer"}
        if source.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # UDP loses packets, and firewalls stop it
        return lambda: av.open(source, options=options, timeout=timeout, metadata_errors="replace")
    camera = camera or "0"
    if sys.platform == "darwin":
        # Its default of 29.97 is refused by Apple's own cameras.
        return lambda: av.open(
            camera, format="avfoundation", options={"framerate": "30"}, timeout=timeout, metadata_errors="replace"
        )
    if sys.platform == "win32":
        name = _windows_camera(camera)
        return lambda: av.open(f"video={name}", format="dshow", timeout=timeout, metadata_errors="replace")
    device = f"/dev/video{camera}" if camera.isdigit() else camera
    return lambda: av.open(device, format="v4l2", timeout=timeout, metadata_errors="replace")


def _windows_camera(camera: str) -> str:
    """The name of a camera by its number, because DirectShow knows cameras by name only."""
    if not camera.isdigit():
        return camera
    from av.device import enumerate_input_devices

    names = [device.description for device in enumerate_input_devices("dshow") if "video" in device.media_types]
    if int(camera) >= len(names):
        raise SourceError(f"there is no camera {camera}; found {len(names)}: {', '.join(names) or 'connect one'}")
    return names[int(camera)]


def _live_info(source: str, container: av.container.InputContainer, track: int | None) -> VideoInfo:
    try:
        if not container.streams.video:
            raise SourceError(f"{source} sends no video: check the address")
        stream = video_track(container, source, track)
    except SourceError:
        container.close()
        raise
    info = VideoInfo(
        source=source,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        rate_hz=opening_rate_hz(stream),
        live=True,
        has_audio=bool(container.streams.audio),
    )
    return replace(info, time_base=stream.time_base) if stream.time_base else info


def _live_failure(source: str, error: av.error.FFmpegError) -> str:
    """Why a camera or a stream cannot be opened, in a sentence that says what to do."""
    if not source.startswith("webcam"):
        return f"{source} cannot be opened ({ffmpeg_reason(error)}): check the address, and that its sender is running"
    if isinstance(error, av.error.FileNotFoundError):
        return f"there is no camera {source.partition(':')[2] or '0'} ({error.filename} is missing): connect one"
    if isinstance(error, av.error.PermissionError):
        return f"{source} may not be used: allow this program the camera (on Linux: join the group 'video')"
    return f"{source} cannot be opened ({ffmpeg_reason(error)}): check that no other program uses the camera"

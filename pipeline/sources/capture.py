"""LiveReader: cameras and network streams, captured in a thread, newest frames win, opened again when they are lost."""

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
from mixsynth_stream.pipeline.sources.source import FrameMaker, FrameSource, reason

logger = logging.getLogger(__name__)

Opener = Callable[[], "av.container.InputContainer"]

SILENCE_S = 10.0  # without a frame for so long, a source is lost
_BUFFER = 2  # frames that wait for the consumer; more would only be older


class LiveReader(FrameSource):
    """A camera ("webcam", "webcam:1", "webcam:NAME") or a network stream, as frames of *now*.

    A thread captures into a buffer of two frames; when the consumer is late the oldest is dropped and counted
    (`dropped_consumer_behind`). A lost source is opened again with growing pauses (`reopened`), `retries` times in a
    row or for ever (None); then SourceError. `time_s` is seconds since the first frame, on this machine's clock.
    """

    def __init__(
        self,
        source: str,
        *,
        retries: int | None = None,
        silence_s: float = SILENCE_S,
        opener: Opener | None = None,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        super().__init__()
        self._source = source
        self._retries = retries
        self._silence_s = silence_s
        self._open = opener or opener_for(source, silence_s)
        self._pause_s = pause_s or pause_before
        self._buffer: deque[Frame] = deque()
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._error: SourceError | None = None
        self._index = 0
        self._frame_of = FrameMaker()
        self._start_s: float | None = None
        self._alive_s = time.perf_counter()
        try:
            container = self._open()
            self.info = _describe(source, container)
        except av.error.FFmpegError as error:
            raise SourceError(_why_not(source, error)) from error
        self._thread = threading.Thread(target=self._run, args=(container,), name=f"capture {source}", daemon=True)
        self._thread.start()

    def __next__(self) -> Frame:
        while not self._closing.is_set():
            frame = self.read(1.0)
            if frame is not None:
                return frame
        raise StopIteration

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None when none came in time or the reader is closed; SourceError when it has given up."""
        with self._news:
            self._news.wait_for(lambda: self._buffer or self._error or self._closing.is_set(), timeout_s)
            if self._closing.is_set():
                return None
            if self._buffer:
                return self._buffer.popleft()
            if self._error:
                raise self._error
        # A driver can hang where no time limit reaches it; the thread is then lost with it.
        if time.perf_counter() - self._alive_s > 3 * self._silence_s:
            raise SourceError(f"{self._source} hangs and does not answer: unplug it or stop it, and start again")
        return None

    def now_s(self) -> float | None:
        """The present, on the clock that `time_s` runs on."""
        return None if self._start_s is None else time.perf_counter() - self._start_s

    def close(self) -> None:
        """End the capture. A read that is stuck in a silent source ends by its own time limit, behind the scenes."""
        with self._news:
            self._closing.set()
            self._buffer.clear()
            self._news.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)

    def _run(self, container: av.container.InputContainer | None) -> None:
        """The thread: capture until it breaks, pause, open again."""
        failures = 0
        try:
            while not self._closing.is_set():
                try:
                    with container or self._open() as container:
                        for frame in self._capture(container):
                            failures = 0
                            self._offer(frame)
                    why = "it ended"
                except av.error.FFmpegError as error:
                    why = reason(error)
                container = None
                if self._closing.is_set():
                    return
                failures += 1
                if self._retries is not None and failures > self._retries:
                    raise SourceError(f"{self._source} was lost after {self._index} frames ({why})")
                pause_s = self._pause_s(failures)
                logger.warning("%s was lost (%s); trying again in %g s", self._source, why, pause_s)
                self._wait(pause_s)
                self._count("reopened")
        except SourceError as error:
            self._give_up(error)
        except Exception as error:  # the consumer must hear of it, whatever it is
            self._give_up(SourceError(f"{self._source} cannot be captured any further: {error!r}"))

    def _capture(self, container: av.container.InputContainer) -> Iterator[Frame]:
        stream = container.streams.video[0]
        # Threads by frame would hold frames back; those by slice do not.
        stream.thread_type = "SLICE"
        # Streams that come in pieces of seconds are played at their own pace; all others are as new as they can be.
        pace = _Pace(float(stream.time_base or 0)) if container.format.name in ("hls", "dash") else None
        last_s = time.perf_counter()
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
                if pace is not None:
                    self._wait(pace.ahead_s(picture.pts))
                last_s = time.perf_counter()
                yield self._stamped(picture, last_s)
            if now_s - last_s > self._silence_s:
                raise av.error.TimeoutError(0, "no picture")

    def _stamped(self, picture: av.VideoFrame, now_s: float) -> Frame:
        if self._start_s is None:
            self._start_s = self._last_s = now_s - 1e-6
        self._last_s = max(now_s, self._last_s + 1e-6)  # two pictures of one packet
        frame = self._frame_of(picture, self._index, self._last_s - self._start_s)
        self._index += 1
        return frame

    def _offer(self, frame: Frame) -> None:
        with self._news:
            if len(self._buffer) == _BUFFER:
                self._buffer.popleft()
                self._count("dropped_consumer_behind")
            self._buffer.append(frame)
            self._news.notify()

    def _wait(self, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        while (left_s := end_s - time.perf_counter()) > 0 and not self._closing.wait(min(left_s, 1.0)):
            self._alive_s = time.perf_counter()

    def _give_up(self, error: SourceError) -> None:
        with self._news:
            self._error = error
            self._news.notify()


class _Pace:
    """How far pictures run ahead of the clock that started with the first of them."""

    def __init__(self, unit_s: float) -> None:
        self._unit_s = unit_s
        self._start_s: float | None = None

    def ahead_s(self, pts: int | None) -> float:
        now_s, shown_s = time.perf_counter(), (pts or 0) * self._unit_s
        if self._start_s is None or shown_s - (now_s - self._start_s) > SILENCE_S:  # the first, or a jump in time
            self._start_s = now_s - shown_s
        return shown_s - (now_s - self._start_s)


def pause_before(attempt: int) -> float:
    """Seconds before the attempt-th try in a row to open a lost source again."""
    if attempt <= 5:
        return 1.0
    return 5.0 if attempt <= 10 else 10.0 if attempt <= 20 else 60.0


def opener_for(source: str, silence_s: float) -> Opener:
    """How to open a camera or a stream; every wait has a limit."""
    timeout = (silence_s, silence_s)
    kind, _, camera = source.partition(":")
    if kind != "webcam":
        options = {"fflags": "nobuffer"}
        if source.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # UDP loses packets, and firewalls stop it
        return lambda: av.open(source, options=options, timeout=timeout)
    camera = camera or "0"
    if sys.platform == "darwin":
        # Its default of 29.97 is refused by Apple's own cameras.
        return lambda: av.open(camera, format="avfoundation", options={"framerate": "30"}, timeout=timeout)
    if sys.platform == "win32":
        name = _windows_camera(camera)
        return lambda: av.open(f"video={name}", format="dshow", timeout=timeout)
    device = f"/dev/video{camera}" if camera.isdigit() else camera
    return lambda: av.open(device, format="v4l2", timeout=timeout)


def _windows_camera(camera: str) -> str:
    """DirectShow knows cameras by name only."""
    if not camera.isdigit():
        return camera
    from av.device import enumerate_input_devices

    names = [device.description for device in enumerate_input_devices("dshow") if "video" in device.media_types]
    if int(camera) >= len(names):
        raise SourceError(f"there is no camera {camera}; found {len(names)}: {', '.join(names) or 'connect one'}")
    return names[int(camera)]


def _describe(source: str, container: av.container.InputContainer) -> VideoInfo:
    if not container.streams.video:
        container.close()
        raise SourceError(f"{source} sends no video: check the address")
    stream = container.streams.video[0]
    info = VideoInfo(
        source=source,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        rate_hz=float(stream.average_rate or stream.guessed_rate or 30),
        live=True,
        has_audio=bool(container.streams.audio),
    )
    return replace(info, time_base=stream.time_base) if stream.time_base else info


def _why_not(source: str, error: av.error.FFmpegError) -> str:
    if not source.startswith("webcam"):
        return f"{source} cannot be opened ({reason(error)}): check the address, and that its sender is running"
    if isinstance(error, av.error.FileNotFoundError):
        return f"there is no camera {source.partition(':')[2] or '0'} ({error.filename} is missing): connect one"
    if isinstance(error, av.error.PermissionError):
        return f"{source} may not be used: allow this program the camera (on Linux: join the group 'video')"
    return f"{source} cannot be opened ({reason(error)}): check that no other program uses the camera"

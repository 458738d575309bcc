"""`opener_for`: how a camera, a stream or a file that is played as one is opened, and why it cannot be, in words."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import av

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import VideoInfo
from mixsynth_stream.pipeline.sources.live.cameras import camera_device, is_camera
from mixsynth_stream.pipeline.sources.live.pace import pause_before
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.media.container import ffmpeg_reason, refusal_of
from mixsynth_stream.pipeline.sources.media.medium import medium_of
from mixsynth_stream.pipeline.sources.media.waiting import ClosedError, interruptible
from mixsynth_stream.pipeline.sources.timing.rates import opening_rate_hz
from mixsynth_stream.pipeline.sources.tracks import video_track
from mixsynth_stream.redact import redacted

logger = logging.getLogger(__name__)

Opener = Callable[[], "av.container.InputContainer"]

# Pictures come as they are sent. FFmpeg's parser would wait for the next one, and its guess of the rate for twenty.
_RTSP = {
    "rtsp_transport": "tcp",  # UDP loses packets, and firewalls stop it
    "fflags": "noparse",
    "fpsprobesize": "0",
}
# So video4linux answers for a device, or a file, that is none that gives pictures.
_NO_CAMERA = (errno.ENOTTY, errno.ENODEV, errno.ENOSYS)
# A source that is not there yet is tried again after so long at most.
_LONGEST_PAUSE_S = 5.0


def opener_for(source: str, silence_s: float, request: LiveRequest) -> Opener:
    """A function that opens the camera or stream, with a time limit for every wait.

    It raises errors of FFmpeg, and SourceError.
    """
    timeout = (silence_s, silence_s)

    def open_camera() -> av.container.InputContainer:
        device = camera_device(source.partition(":")[2] or "0", request)
        return av.open(
            device.name, format=device.driver, options=device.options, timeout=timeout, metadata_errors="replace"
        )

    def open_stream() -> av.container.InputContainer:
        # Of all others, FFmpeg's option nobuffer would throw away what it has read to know the stream: the keyframe.
        options = _RTSP if is_rtsp(source) else {}
        start_s = time.perf_counter()
        try:
            return av.open(source, options=options, timeout=timeout, metadata_errors="replace")
        except av.error.InvalidDataError as error:  # so FFmpeg calls an RTSP server that does not answer
            if time.perf_counter() - start_s < silence_s:
                raise
            raise av.error.TimeoutError(0, "no answer") from error

    def open_file() -> av.container.InputContainer:
        return av.open(medium_of(source).target(), "r", metadata_errors="replace")

    if is_camera(source):
        return open_camera
    return open_file if request.is_paced and "://" not in source else open_stream


def first_container(
    opener: Opener,
    source: str,
    pause_s: Callable[[int], float] = pause_before,
    *,
    wait: bool = False,
    closing: threading.Event | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> av.container.InputContainer:
    """Open a source for the first time. With `wait`, one that is not there yet is tried again until Ctrl-C, and
    `on_wait` is told why.

    SourceError says why it cannot be opened; it comes at once where `closing` is set in another thread.
    """
    attempt = 0
    closing = closing or threading.Event()
    while True:
        try:
            return interruptible(opener, closing=closing, discard=lambda container: container.close())
        except ClosedError:
            break
        except (av.error.FFmpegError, SourceError) as error:
            failure = error if isinstance(error, SourceError) else SourceError(live_failure(source, error))
            if not wait:
                raise failure from error
        attempt += 1
        if on_wait is not None:
            on_wait(str(failure))
        if attempt == 1:
            logger.warning("%s; waiting for it", redacted(str(failure)))
        if closing.wait(min(pause_s(attempt), _LONGEST_PAUSE_S)):
            break
    raise SourceError(f"{source} was closed before it was open: open it again")


def is_rtsp(source: str) -> bool:
    """Whether pictures come in pieces, which `Pieces` joins."""
    return source.partition("://")[0].lower() in ("rtsp", "rtsps")


def live_info(source: str, container: av.container.InputContainer, track: int | None) -> VideoInfo:
    """What is known of a source that is open. Closes it, and raises SourceError, where it has no video."""
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


def live_failure(source: str, error: Exception) -> str:
    """Why a camera, a stream or a file cannot be opened, in a sentence that says what to do."""
    if not is_camera(source):
        refusal = refusal_of(source, error)
        if refusal:
            return refusal
        reason = ffmpeg_reason(error, source)
        if "://" in source:
            return f"{source} cannot be opened ({reason}): check the address, and that its sender is running"
        return f"{source} cannot be opened ({reason}): check that it is a video"
    name = source.partition(":")[2] or "0"
    if isinstance(error, FileNotFoundError):
        device = os.fsdecode(error.filename) if error.filename else "its device"
        return f"there is no camera {name} ({device} is missing): connect one"
    if isinstance(error, PermissionError):
        return f"{source} may not be used: allow this program the camera (on Linux: join the group 'video')"
    if getattr(error, "errno", None) in _NO_CAMERA:
        return f"{source} is no camera that gives pictures: choose one of those that info --cameras lists"
    return f"{source} cannot be opened ({ffmpeg_reason(error)}): check that no other program uses the camera"

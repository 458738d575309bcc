"""PictureEncoder: the newest picture as JPEG, made in a thread of its own and only while somebody watches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from mixsynth_stream.pipeline.sources.pixels.converter import converted

log = logging.getLogger(__name__)

# Larger pictures are shown smaller: a page has no more room.
MAX_WIDTH, MAX_HEIGHT = 1280, 720
# FFmpeg's scale: 2 is best, 31 worst.
_QUALITY = 5


@dataclass(frozen=True)
class Picture:
    """A picture of the video, as the page gets it. `size` is that of the frame, in whose pixels poses are."""

    index: int
    time_s: float
    size: tuple[int, int]  # width, height
    jpeg: bytes


@dataclass(frozen=True)
class _Task:
    index: int
    time_s: float
    rgb: Callable[[], np.ndarray]  # () -> [H, W, 3] uint8; ValueError where it was released


class PictureEncoder:
    """`put` gives it the next picture, in place of one that still waits. `newest` is the last one that is complete."""

    def __init__(self) -> None:
        self.newest: Picture | None = None
        self._task: _Task | None = None
        self._changed = threading.Condition()
        self._is_closed = False
        self._jpeg = JpegWriter()
        self._thread = threading.Thread(target=self._run, name="view pictures", daemon=True)
        self._thread.start()

    def put(self, index: int, time_s: float, rgb: Callable[[], np.ndarray]) -> None:
        """Encode this picture next."""
        with self._changed:
            self._task = _Task(index, time_s, rgb)
            self._changed.notify()

    def close(self, patience_s: float = 0.2) -> None:
        """End the thread. Safe to call twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(patience_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._task is not None or self._is_closed)
                task, self._task = self._task, None
                if self._is_closed or task is None:
                    return
            try:
                rgb = task.rgb()
                picture = Picture(task.index, task.time_s, (rgb.shape[1], rgb.shape[0]), self._jpeg.encode(rgb))
            except ValueError:  # the picture was released meanwhile
                continue
            except av.error.FFmpegError as error:
                log.debug("a picture for the view cannot be encoded: %s", error)
                continue
            self.newest = picture


class JpegWriter:
    """JPEG pictures by FFmpeg, which is there already. It keeps one encoder for each size."""

    def __init__(self) -> None:
        self._encoder: av.VideoCodecContext | None = None

    def encode(self, rgb: np.ndarray) -> bytes:  # [H, W, 3] uint8
        """The picture, at most 1280 x 720, in its own proportions. Raises `FFmpegError`."""
        height, width = rgb.shape[:2]
        scale = min(1.0, MAX_WIDTH / width, MAX_HEIGHT / height)
        # The encoder halves the resolution of colour, and so needs even numbers.
        width, height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = converted(frame, width, height, "yuvj420p")
        encoder = self._encoder_of(width, height)
        frame.pts = None
        return b"".join(bytes(packet) for packet in encoder.encode(frame))

    def _encoder_of(self, width: int, height: int) -> av.VideoCodecContext:
        encoder = self._encoder
        if encoder is None or (encoder.width, encoder.height) != (width, height):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
            encoder.time_base = Fraction(1, 30)
            encoder.thread_count = 1  # others would hold pictures back
            encoder.options = {"flags": "+qscale", "global_quality": str(118 * _QUALITY)}
            self._encoder = encoder
        return encoder

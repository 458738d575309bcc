"""FrameSource: what every source is. TimeStamps and FrameMaker: what readers make frames with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from mixsynth_stream.pipeline.frame import Frame, VideoInfo

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.estimators.estimator import Estimator


class FrameSource(ABC):
    """An iterator of Frames in order of time, and a context manager.

    `counters` counts what was repaired or dropped. `estimator` is set by a source that knows its people.
    """

    info: VideoInfo
    estimator: Estimator | None = None

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}

    def _count(self, reason: str, number: int = 1) -> None:
        self.counters[reason] = self.counters.get(reason, 0) + number

    @abstractmethod
    def __next__(self) -> Frame: ...

    @abstractmethod
    def close(self) -> None: ...

    def now_s(self) -> float | None:
        """The present, on the clock that `time_s` runs on; None for a file, whose clock stands still."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TimeStamps:
    """Seconds that always grow, made from a stream's own times with as little change as possible."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.repaired = 0
        self._last_s: float | None = None
        self._shift_s = 0.0

    def next(self, time_s: float | None) -> float:
        """The stream's own time where it is later than the last, else a repaired one. None: the stream has no time."""
        last_s = self._last_s
        if time_s is not None:
            time_s += self._shift_s
        if time_s is None or (last_s is not None and time_s <= last_s):
            self.repaired += 1
            if last_s is None:
                repaired_s = 0.0
            elif time_s is None:
                repaired_s = last_s + self.step_s
            elif last_s - time_s < 1.0:
                repaired_s = last_s + self.step_s / 2  # half a step, so that the next good time is still later
            else:
                repaired_s = last_s + self.step_s  # the clock started again: time goes on from the last
                self._shift_s += repaired_s - time_s
            time_s = repaired_s
        self._last_s = time_s
        return time_s


def ffmpeg_reason(error: av.error.FFmpegError) -> str:
    """Why FFmpeg failed, in words that help."""
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return "no answer in time"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "the FFmpeg in use does not know this protocol"
    return error.strerror or type(error).__name__


class FrameMaker:
    """Makes Frames of decoded pictures. `rgb`, when it is read, converts the picture and turns it upright.

    The display matrix is read from the first picture, and again where size or rotation change, because reading it gives
    the picture a reference to itself: megabytes a frame would then wait for the garbage collector.
    """

    def __init__(self) -> None:
        self._geometry: tuple[float, ...] | None = None  # of the picture that the matrix is from
        self._matrix: list[int] | None = None  # a, b, _, c, d

    def __call__(self, picture: av.VideoFrame, index: int, time_s: float) -> Frame:
        geometry = (picture.width, picture.height, picture.rotation)
        if geometry != self._geometry:
            self._geometry = geometry
            matrix: Any = picture.side_data.get("DISPLAYMATRIX")
            self._matrix = None if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        if self._matrix is None:
            return Frame(index, time_s, picture.width, picture.height, partial(_rgb, picture))
        a, b, _, c, d = self._matrix
        sideways = abs(b) > abs(a)
        width, height = (picture.height, picture.width) if sideways else (picture.width, picture.height)
        return Frame(index, time_s, width, height, partial(_upright, picture, sideways, (a, b, c, d)))


def frame_from_array(rgb: np.ndarray, time_s: float, index: int) -> Frame:  # rgb: [H, W, 3] uint8
    """A Frame of a user's own picture. `ValueError` for anything but an rgb array of uint8."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        kind = f"{rgb.dtype} {list(rgb.shape)}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(f"frame {index} must be an rgb array [H, W, 3] of uint8, not {kind}")
    return Frame(index, float(time_s), rgb.shape[1], rgb.shape[0], partial(np.ascontiguousarray, rgb))


def _rgb(picture: av.VideoFrame) -> np.ndarray:
    return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))


def _upright(picture: av.VideoFrame, sideways: bool, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """The picture as it is shown. The display matrix maps (x, y) to (a x + c y, b x + d y): turns and mirror images."""
    a, b, c, d = matrix
    rgb = picture.to_ndarray(format="rgb24")
    if sideways:
        rgb, a, d = rgb.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

"""Frame: one picture of a source. VideoInfo: what is known about the source."""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import numpy as np

# The rate of a source that names none.
UNKNOWN_RATE_HZ = 30
# Rows and columns of a thumbnail.
THUMBNAIL_SIZE = 32
# Live frames wait for so long, and no more than so many, where no keyframe comes: those of a camera of 60 Hz. A faster
# camera's would take ever more memory while an estimator hangs.
_LONGEST_WAIT_S, _MOST_WAITING = 2.0, 120
# Live pictures that nobody reads are kept for so long: the judgement of a cut may want the estimator to look at them.
_JUDGED_S = 0.5
# Those that are read are copied out of the decoder's memory after so long, or where so many have come since: more than
# an estimator at work lets wait, for which each copy would take time.
_LONGEST_IN_DECODER_S, _MOST_IN_DECODER = 1.0, 40


@dataclass(frozen=True)
class Luma:
    """The brightness of a picture as it is stored, without a copy where the decoder has it.

    A place of the upright picture, in display pixels, is in the plane at `turn` @ place + `shift`.
    """

    plane: np.ndarray  # [H, W], or [H, W, 3] of a picture that only has red, green and blue; uint8 or uint16
    bits: int = 8  # of a sample
    turn: np.ndarray = field(default_factory=lambda: np.eye(2))  # [2, 2]
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))  # [2]


class Frame:
    """One picture of a source. Reading `rgb` converts it; a frame whose `rgb` nobody reads costs its decoding only.

    `width`, `height` and `rgb` are display pixels: upright, and square. `stored_size` (width, height) is the upright
    picture as the file stores it. It differs where samples are not square, such as those of DV and of DVDs.
    `received_s` is when a live source's picture came, on the clock of `time_s`, which is when it was taken; where all
    pictures are late by seconds that are known, as those of HLS, these are `buffered_s`, and `time_s` is late by them.
    A source that knows which pictures somebody reads may leave others out; see `is_decoded`.
    """

    __slots__ = (
        "__weakref__",
        "_decode",
        "_lock",
        "_luma",
        "_own",
        "_picture",
        "_thumbnail",
        "buffered_s",
        "height",
        "index",
        "received_s",
        "stored_size",
        "time_s",
        "width",
    )

    def __init__(
        self,
        index: int,
        time_s: float,
        width: int,
        height: int,
        picture: Callable[[], np.ndarray],  # () -> [H, W, 3] uint8
        *,
        stored_size: tuple[int, int] | None = None,
        luma: Callable[[], Luma | None] | None = None,
        thumbnail: Callable[[], np.ndarray | None] | None = None,  # () -> [32, 32] float32
        own: Callable[[], Callable[[], None] | None] | None = None,
        received_s: float | None = None,
    ) -> None:
        """`picture` gives `rgb` when it is read. Without a `stored_size` the samples are square.

        `own` refers weakly to what copies the picture out of its decoder's memory, while anybody holds it.
        """
        self._decode: Callable[[], Frame] | None = None
        self.index = index
        self.time_s = time_s
        self.received_s = received_s
        self.buffered_s = 0.0
        self.width = width
        self.height = height
        self.stored_size = stored_size or (width, height)
        self._picture = picture
        self._luma = luma
        self._thumbnail = thumbnail
        self._own = own
        # FFmpeg must not convert one picture in two threads at once: the estimator's and the loop may both read it.
        self._lock = threading.Lock()

    @classmethod
    def left_out(cls, like: Frame, index: int, time_s: float, decode: Callable[[], Frame]) -> Frame:
        """A frame of the size of another one whose picture was not decoded. `decode` gives it after all."""
        frame = cls(index, time_s, like.width, like.height, partial(_refuse, index), stored_size=like.stored_size)
        frame._decode = decode
        return frame

    @property
    def is_decoded(self) -> bool:
        """Whether the picture is at hand. That of any other frame comes late, when it is read: its file is decoded
        once more, from the last point before it where that can begin."""
        return self._decode is None

    def decode(self) -> None:
        """See to it that the picture is at hand."""
        with self._lock:
            self._complete()

    def _complete(self) -> None:
        """Decode the picture if it was left out. The lock is held."""
        if self._decode is not None:
            late = self._decode()
            self._decode, self._picture, self._luma, self._thumbnail = None, late._picture, late._luma, late._thumbnail

    @property
    def rgb(self) -> np.ndarray:  # [H, W, 3] uint8, contiguous, upright
        with self._lock:
            self._complete()
            rgb = self._picture()
            self._picture = lambda: rgb
            self._thumbnail = None  # it holds the decoded picture
            return rgb

    def luma(self) -> Luma | None:
        """The brightness of the picture; None where the source has no quick one, and once it was released."""
        with self._lock:
            self._complete()
            return None if self._luma is None else self._luma()

    def thumbnail(self) -> np.ndarray | None:  # [32, 32] float32
        """A tiny grey copy, 0..255, which takes no conversion of the picture; each call samples anew.

        None where the source has no quick one, and once `rgb` was read or released.
        """
        with self._lock:
            self._complete()
            return None if self._thumbnail is None else self._thumbnail()

    def release(self) -> None:
        """Free the picture (megabytes); the frame keeps its number and time."""
        with self._lock:
            self._luma = None
            decode, self._decode = self._decode, None
            self._picture = partial(_refuse, self.index)
            # What was left out holds nothing, and those who look for cuts may come back to it.
            self._thumbnail = None if decode is None else partial(_late_thumbnail, decode)

    def own(self) -> None:
        """Keep the picture in memory of its own: a decoder frees no memory where pictures have waited once."""
        with self._lock:
            own = None if self._own is None else self._own()
            if own is not None:
                own()

    def release_luma(self) -> None:
        """Let nobody see the brightness any more. `rgb` stays."""
        with self._lock:
            self._luma = self._thumbnail = None

    def __repr__(self) -> str:
        return f"Frame(index={self.index}, time_s={self.time_s:.3f}, {self.width}x{self.height})"


def _late_thumbnail(decode: Callable[[], Frame]) -> np.ndarray | None:  # -> [32, 32] float32
    return decode().thumbnail()


def _refuse(index: int) -> np.ndarray:
    raise ValueError(f"the picture of frame {index} was released: copy frame.rgb while the frame is the current one")


class LivePictures:
    """The pictures of a live source's newest frames. Unless they `are_read`, those of older frames are freed at once.

    So memory does not grow with the time that an estimator takes. A replay shows what nobody read when it was recorded
    (`are_shown`): then they only count as freed.
    """

    def __init__(self, *, are_read: bool, are_shown: bool = False) -> None:
        # Those whose pictures may be in the decoder's memory, and their times. Nobody keeps a picture who may free it.
        self._frames: deque[tuple[float, weakref.ref[Frame]]] = deque()
        self._times_s: deque[float] = deque(maxlen=_MOST_WAITING)  # of the frames that may wait
        self._are_read, self._are_shown = are_read, are_shown

    def let_go(self, newest: Frame, needed: Sequence[Frame]) -> None:
        """Take the newest frame, and free the pictures of old ones, except those that are `needed`."""
        self._times_s.append(newest.time_s)
        self._frames.append((newest.time_s, weakref.ref(newest)))
        longest_s, most = (_LONGEST_IN_DECODER_S, _MOST_IN_DECODER) if self._are_read else (_JUDGED_S, _MOST_WAITING)
        while len(self._frames) > most or self._frames[0][0] < newest.time_s - longest_s:
            oldest = self._frames.popleft()[1]()
            if oldest is None or (not self._are_read and oldest in needed):
                continue
            if self._are_read:
                oldest.own()
            elif self._are_shown:
                oldest.release_luma()
            else:
                oldest.release()

    @property
    def waiting_s(self) -> float:
        """Frames that are older than this wait no longer, and become final as they stand."""
        return max(self._times_s[-1] - _LONGEST_WAIT_S, self._times_s[0]) if self._times_s else -math.inf


@dataclass(frozen=True)
class SourceEvent:
    """What happens to a live source between two pictures, at `time_s` and before frame `index`.

    `kind` is "lost" (no pictures come, and the source is opened again), "back" (they come again), or "size" (they have
    another size from here on). `about` says more, in words.
    """

    kind: str
    time_s: float
    index: int
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known about an open source. Sizes are those of the first frame, and later ones may differ.

    A source without pictures has the size 0, 0.
    """

    source: str
    width: int  # in display pixels
    height: int
    rate_hz: float | None  # on average, as far as it is known before the source is read
    duration_s: float | None = None
    frame_count: int | None = None  # an estimate
    live: bool = False
    has_audio: bool = False
    time_base: Fraction = Fraction(1, 90_000)
    stored_size: tuple[int, int] | None = None  # width, height; None where samples are square

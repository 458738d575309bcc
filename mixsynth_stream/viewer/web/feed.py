"""Feed: what there is to see of a stream, for any number of viewers, each as fast as it likes."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mixsynth_stream.pipeline.ledger import PERCENTILES
from mixsynth_stream.pipeline.motion import Expected, Motion, forecast_of
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.skeleton import BLAZEPOSE_33
from mixsynth_stream.viewer.web import messages
from mixsynth_stream.viewer.web.messages import DrawRequest
from mixsynth_stream.viewer.web.pictures import PictureEncoder

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.forecast.self_score import SelfScore
    from mixsynth_stream.pipeline.frame import SourceEvent, VideoInfo

# A live source without a new frame for so long is told to be lost.
LOST_S = 1.0
# Pictures are made while a page has asked for something within these seconds.
_WATCHED_S = 1.0
# Final poses that a page may be behind; a slower one misses the oldest.
_FINALS = 60
# Ghosts are drawn at these parts of the horizon.
_GHOST_PARTS = (1 / 3, 2 / 3, 1.0)
_STATS_EVERY_S = 0.5
# Latencies of the last minute at 30 Hz, as in the ledger.
_LATENCIES = 1800
# So many events are told.
_EVENTS = 5


class Watched(Protocol):
    """What the view needs of a `Stream`."""

    info: VideoInfo | None
    live: bool
    stats: StreamStats
    score: SelfScore | None

    @property
    def skeleton(self) -> str: ...

    @property
    def now_s(self) -> float | None: ...

    def at(self, time_s: float) -> Expected: ...


class Opening:
    """In place of a stream whose source is not open yet."""

    def __init__(self) -> None:
        self.info: VideoInfo | None = None
        self.live = True
        self.stats = StreamStats()
        self.score: SelfScore | None = None
        self.skeleton = BLAZEPOSE_33.name

    @property
    def now_s(self) -> float | None:
        return None

    def at(self, time_s: float) -> Expected:
        raise ValueError(f"nobody is known at {time_s} s: the source is not open yet")


class _Final:
    """Final poses as pages get them, without the picture and what a forecast would be made of."""

    def __init__(self, motion: Motion) -> None:
        self.index = motion.index
        self._size = _size(motion)
        self._motion = replace(motion, frame=None, measured=None, _forecaster=None)

    @cached_property
    def message(self) -> dict[str, Any]:
        """Made when the first page asks for it."""
        one = self._motion
        return {"index": one.index, "time_s": one.time_s, "size": self._size, "people": messages.people(one, one.ids)}


class Feed:
    """`write` takes Motions in the loop of the job; `answer` may be called in any other thread."""

    def __init__(self, stream: Watched | None) -> None:
        """Without a stream, its source is still to be opened: then `watch` follows."""
        self.has_ended = False
        self._stream: Watched = stream or Opening()
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self._loss: str | None = None  # why the source is lost, while it is
        self._pictures = PictureEncoder()
        self._lock = threading.Lock()
        self._newest: Motion | None = None  # of the highest index
        self._finals: deque[_Final] = deque(maxlen=_FINALS)
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)  # seconds
        self._written_s = self._asked_s = -np.inf
        self._ghosts: tuple[int, list[list[dict[str, Any]]]] = (-1, [])  # of which frame
        self._stats: tuple[float, dict[str, Any]] = (-np.inf, {})
        self._first: tuple[int, float] = (0, time.perf_counter())  # frames at the last look at the rate

    def watch(self, stream: Watched) -> None:
        """The source is open: this is its stream."""
        self._stream = stream

    def tell(self, event: SourceEvent) -> None:
        """Take what has happened to the source."""
        one = {"kind": event.kind, "time_s": round(event.time_s, 2), "about": event.about}
        with self._lock:
            self._events.append(one)
        if event.kind != "size":
            self._loss = event.about if event.kind == "lost" else None

    def write(self, motion: Motion) -> None:
        """Take the next Motion. This costs microseconds: the rest is done by who watches."""
        now_s = time.perf_counter()
        with self._lock:
            if motion.final:
                self._finals.append(_Final(motion))
            if motion.latency is not None:
                self._latencies.append(motion.latency.total_s)
            if self._newest is not None and motion.index <= self._newest.index:
                return
            self._newest, self._written_s = motion, now_s
        frame = motion.frame
        if frame is not None and now_s - self._asked_s < _WATCHED_S:
            # The picture of a final frame is gone when the loop goes on; that of another one waits for its final.
            rgb = frame.rgb if motion.final else None
            self._pictures.put(motion.index, motion.time_s, lambda: frame.rgb if rgb is None else rgb)

    def close(self, reason: str | None = None) -> None:
        """The stream has ended, for this reason. Who watches is told so."""
        self._loss = reason or self._loss
        self.has_ended = True
        self._pictures.close()

    def answer(self, request: DrawRequest) -> bytes:
        """What a page does not have yet of now."""
        self._asked_s = time.perf_counter()
        with self._lock:
            newest, finals, written_s = self._newest, list(self._finals), self._written_s
        now_s, picture = self._stream.now_s, self._pictures.newest
        message: dict[str, Any] = {"type": "now", "state": self._state(newest, written_s), "now_s": now_s}
        if self._loss is not None:
            message["why"] = self._loss
        if newest is not None:
            shown_s = None if now_s is None else now_s + request.ahead_s
            if picture is not None and request.is_of_picture:
                shown_s = picture.time_s
            message |= self._poses(newest, shown_s)
            message["finals"] = [one.message for one in finals if one.index > request.final]
        is_new = picture is not None and picture.index > request.picture
        if picture is not None and is_new:
            message["picture"] = {"index": picture.index, "time_s": picture.time_s, "size": picture.size}
        message["stats"] = self._statistics()
        return messages.pack(message, picture.jpeg if picture is not None and is_new else b"")

    def _state(self, newest: Motion | None, written_s: float) -> str:
        if self.has_ended:
            return "ended"
        if isinstance(self._stream, Opening):
            return "opening"
        if self._loss is not None:
            return "lost"
        if newest is None:
            return "waiting"
        is_late = self._stream.live and time.perf_counter() - written_s > LOST_S
        return "lost" if is_late else "live"

    def _poses(self, newest: Motion, shown_s: float | None) -> dict[str, Any]:
        """Everybody at a time, or in the newest frame; and that frame's forecast."""
        shown: dict[str, Any] = {"index": newest.index, "frame_s": newest.time_s, "size": _size(newest)}
        shown["ghosts"] = self._ghosts_of(newest)
        if not self._stream.live or shown_s is None or self.has_ended:
            return shown | {"time_s": newest.time_s, "people": messages.people(newest, newest.ids)}
        # A camera that is lost leaves people where they were last seen, and their forecast ends.
        at_s = min(shown_s, newest.time_s + LOST_S)
        now = self._stream.at(at_s)
        return shown | {"time_s": at_s, "people": messages.people(now, now.ids)}

    def _ghosts_of(self, newest: Motion) -> list[list[dict[str, Any]]]:
        """The forecast of a frame, made once for all who watch."""
        index, ghosts = self._ghosts
        if index != newest.index:
            forecast = forecast_of(newest)
            steps = [] if forecast is None else [round(part * (len(forecast.time_s) - 1)) for part in _GHOST_PARTS]
            ghosts = [] if forecast is None else [messages.people(forecast.at(step), newest.ids) for step in steps]
            self._ghosts = (newest.index, ghosts)
        return ghosts

    def _statistics(self) -> dict[str, Any]:
        """Latency, drops and errors of forecasts, made anew every half second."""
        now_s = time.perf_counter()
        made_s, known = self._stats
        if now_s - made_s < _STATS_EVERY_S:
            return known
        stats, score = self._stream.stats, self._stream.score
        with self._lock:
            latencies, events = list(self._latencies), list(self._events)
        frames, since_s = self._first
        self._first = (stats.frames, now_s)
        names = [f"p{percent}" for percent in PERCENTILES]
        values = np.percentile(latencies, PERCENTILES).tolist() if latencies else []
        known = {
            "number": known.get("number", 0) + 1,
            "frames": stats.frames,
            "rate_hz": round((stats.frames - frames) / max(now_s - since_s, 1e-9), 1),
            "keyframes": stats.keyframes,
            "estimator_calls": stats.estimator_calls,
            "counters": dict(stats.counters),
            "events": events,
            "latency_ms": {name: round(1e3 * value, 2) for name, value in zip(names, values, strict=bool(values))},
            "newest_latency_ms": round(1e3 * latencies[-1], 2) if latencies else None,
            "method": None if score is None else score.method,
            "errors": [] if score is None else _errors(score),
        }
        self._stats = (now_s, known)
        return known


def _errors(score: SelfScore) -> list[dict[str, Any]]:
    """Mean errors of the last minute in body scales: `{"horizon_s": 0.2, "network": 0.04, ...}` for each horizon."""
    return [
        {"horizon_s": horizon_s} | {method: round(error, 5) for method, error in row.items()}
        for horizon_s, row in score.errors().items()
    ]


def _size(motion: Motion) -> tuple[int, int] | None:
    return None if motion.frame is None else (motion.frame.width, motion.frame.height)

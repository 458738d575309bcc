"""Metrics: the state of a stream for those who watch over it, as Prometheus reads it, and its health.

The text format is a few lines of code; the usual library would add a package and a server with rules of its own.
"""

from __future__ import annotations

import json
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.console import shown
from mixsynth_stream.export.header import made_by
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.pipeline.looks import LOOK_LIMIT_S
from mixsynth_stream.viewer.web.feed import Watched
from mixsynth_stream.viewer.web.server import Server, Text, Words

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import SourceEvent
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.viewer.web.access import Address

METRICS_PATH, HEALTH_PATH = "/metrics", "/health"
_TYPE = "text/plain; version=0.0.4"
# A source that gives nothing for so long is unhealthy, even before it counts as lost.
SILENT_S = 3.0
# Seconds; a frame at 30 Hz has 0.033.
BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_FAILURES = {"estimator_failed": "failed", "estimator_hung": "hung"}
_DROPPED = "dropped_"
_REOPENED = "reopened"
_OWN_NAMES = (*_FAILURES, _REOPENED)

_Values = dict[tuple[tuple[str, str], ...], float]  # by labels
_Family = tuple[str, str, str, _Values]  # name, kind, help


class Metrics:
    """Takes Motions in the loop of a job; `text` and `health` may be called in any thread."""

    def __init__(self, stream: Watched) -> None:
        self._stream = stream
        source = "pushed frames" if stream.info is None else shown(stream.info.source)
        self._source = source if "://" in source else Path(source).name or source
        self._lock = threading.Lock()
        self._newest = -1
        self._people = 0
        self._motions = {True: 0, False: 0}  # final ones, and provisional ones
        self._keyframe_s: float | None = None  # when the newest look had come back, on the clock of perf_counter
        self._keyframes = 0
        self._frame_s: float | None = None
        self._loss: str | None = None
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._latency_sum_s = 0.0

    def write(self, motion: Motion) -> None:
        """Take the next Motion, which costs microseconds."""
        now_s = time.perf_counter()
        with self._lock:
            self._motions[motion.final] += 1
            keyframes = self._stream.stats.keyframes
            if self._keyframe_s is None or keyframes != self._keyframes:
                self._keyframes, self._keyframe_s = keyframes, now_s
            if motion.latency is not None:
                self._counts[bisect_left(BUCKETS_S, motion.latency.total_s)] += 1
                self._latency_sum_s += motion.latency.total_s
            if motion.index > self._newest:
                self._newest, self._people, self._frame_s = motion.index, len(motion.ids), now_s

    def tell(self, event: SourceEvent) -> None:
        """Take what has happened to a live source."""
        if event.kind in ("lost", "back"):
            self._loss = (event.about or "no picture comes") if event.kind == "lost" else None

    def health(self) -> tuple[HTTPStatus, str, bytes]:
        """200 while frames come and the estimator answers, else 503 and why."""
        problem = self._problem()
        status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
        record = {"status": "ok"} if problem is None else {"status": "failing", "reason": problem}
        return status, "application/json", (json.dumps(record) + "\n").encode()

    def _problem(self) -> str | None:
        now_s = time.perf_counter()
        with self._lock:
            frame_s, keyframe_s = self._frame_s, self._keyframe_s
        if self._loss is not None:
            return f"the source is lost ({shown(self._loss)}) and is opened again and again"
        if frame_s is None or keyframe_s is None:
            return "no frame has come yet"
        if now_s - frame_s > SILENT_S:
            return f"no frame has come for {now_s - frame_s:.1f} s"
        if frame_s - keyframe_s > LOOK_LIMIT_S:
            return f"the estimator has not answered for {now_s - keyframe_s:.1f} s"
        return None

    def answer(self) -> tuple[HTTPStatus, str, bytes]:
        """The metrics, as an answer to a request."""
        return HTTPStatus.OK, _TYPE, self.text().encode()

    def text(self) -> str:
        """All metrics in Prometheus' text format."""
        lines: list[str] = []
        for name, kind, about, values in self._families():
            lines += [f"# HELP mixsynth_{name} {about}", f"# TYPE mixsynth_{name} {kind}"]
            lines += [f"mixsynth_{name}{_labels(labels)} {_number(value)}" for labels, value in values.items()]
        return "\n".join([*lines, *self._histogram()]) + "\n"

    def _families(self) -> Iterator[_Family]:
        stats, score, now_s = self._stream.stats, self._stream.score, time.perf_counter()
        counters = dict(stats.counters)
        with self._lock:
            motions, people, frame_s, keyframe_s = dict(self._motions), self._people, self._frame_s, self._keyframe_s
        info: _Values = {(("source", self._source), ("version", made_by().split()[-1])): 1}
        yield "info", "gauge", "What runs here.", info
        yield "healthy", "gauge", "1 while frames come and the estimator answers.", {(): int(self._problem() is None)}
        yield "frames_total", "counter", "Frames of the source that were read.", {(): stats.frames}
        kinds: _Values = {(("final", str(is_final).lower()),): count for is_final, count in motions.items()}
        yield "motions_total", "counter", "Motions that came out; each frame is provisional first, then final.", kinds
        drops = {key.removeprefix(_DROPPED): n for key, n in counters.items() if key.startswith(_DROPPED)}
        yield "dropped_frames_total", "counter", "Frames that were left out, by reason.", _by("reason", drops)
        yield "reconnects_total", "counter", "How often the source was opened again.", {(): counters.get(_REOPENED, 0)}
        yield "estimator_calls_total", "counter", "Calls of the pose estimator.", {(): stats.estimator_calls}
        failures = {kind: counters.get(key, 0) for key, kind in _FAILURES.items()}
        yield "estimator_failures_total", "counter", "Calls that failed or were given up.", _by("kind", failures)
        yield "keyframes_total", "counter", "Frames that the estimator has looked at.", {(): stats.keyframes}
        rest = {key: n for key, n in counters.items() if key not in _OWN_NAMES and not key.startswith(_DROPPED)}
        yield (
            "events_total",
            "counter",
            "What else was counted, such as repaired times and sends that failed.",
            _by("kind", rest),
        )
        yield "stage_seconds_total", "counter", "Wall-clock time by stage.", _by("stage", dict(stats.seconds))
        yield "people", "gauge", "People in the newest frame.", {(): people}
        if keyframe_s is not None and frame_s is not None:
            yield "keyframe_age_seconds", "gauge", "Since the estimator answered last.", {(): now_s - keyframe_s}
            yield "frame_age_seconds", "gauge", "Since the newest frame came out.", {(): now_s - frame_s}
        if score is not None:
            errors: _Values = {
                (("horizon_s", f"{horizon_s:g}"), ("method", method)): error
                for horizon_s, row in score.errors().items()
                for method, error in row.items()
            }
            yield "forecast_error_scales", "gauge", "Mean error of the last minute's forecasts, in body scales.", errors

    def _histogram(self) -> Iterator[str]:
        """How long live frames were on their way, from the picture to the first pose."""
        with self._lock:
            counts, sum_s = list(self._counts), self._latency_sum_s
        name = "mixsynth_latency_seconds"
        yield f"# HELP {name} From the picture of a live frame to its first pose."
        yield f"# TYPE {name} histogram"
        total = 0
        for bound, count in zip((*BUCKETS_S, math.inf), counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{"+Inf" if bound == math.inf else f"{bound:g}"}"}} {total}'
        yield f"{name}_sum {_number(sum_s)}"
        yield f"{name}_count {total}"


class MetricsServer(SinkBase):
    """A sink that answers for the metrics and the health of a stream while it is open."""

    def __init__(self, stream: Watched, address: Address) -> None:
        """Raises `OutputError` where they cannot be served."""
        super().__init__(None)
        self.metrics = Metrics(stream)
        texts = {METRICS_PATH: Text(self.metrics.answer), HEALTH_PATH: Text(self.metrics.health, is_open=True)}
        words = Words("the metrics", "--metrics PORT", "leave --metrics out")
        self._server = Server(address, texts=texts, words=words)

    @property
    def url(self) -> str:
        """What Prometheus reads."""
        return self._server.url_of(METRICS_PATH)

    def write(self, motion: Motion) -> None:
        """Take the next Motion."""
        self.metrics.write(motion)

    def tell(self, event: SourceEvent) -> None:
        """Take what has happened to a live source."""
        self.metrics.tell(event)

    def _finish(self) -> None:
        self._server.close()


def _by(label: str, values: Mapping[str, float]) -> _Values:
    return {((label, key),): value for key, value in sorted(values.items())}


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return "{" + ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels) + "}" if labels else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"

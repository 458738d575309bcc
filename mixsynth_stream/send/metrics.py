"""Metrics: the state of sources for those who watch over them, as Prometheus reads it, and their health.

The text format is a few lines of code; the usual library would add a package and a server with rules of its own.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from mixsynth_stream.console import shown
from mixsynth_stream.export.header import made_by
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.pipeline.looks import LOOK_LIMIT_S
from mixsynth_stream.viewer.web.feed import Opening, Watched
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

_Labels = tuple[tuple[str, str], ...]
_Sample = tuple[str, _Labels, float]  # what follows the name, labels, value
_Family = tuple[str, str, str, list[_Sample]]  # name, kind, help


class Metrics(SinkBase):
    """The state of one source. It takes Motions in the loop of a job; all else may be called in any thread."""

    def __init__(self, source: str) -> None:
        """`source` is its name among those of the job."""
        super().__init__(None)
        self.source = source
        self._stream: Watched = Opening()
        self._failure = ""  # why it cannot be opened so far
        self._end: str | None = None  # why nothing comes any more
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

    def not_open(self, reason: str) -> None:
        """The source cannot be opened yet, and is waited for."""
        self._failure = reason

    def watch(self, stream: Watched) -> None:
        """The source is open: this is its stream."""
        self._stream = stream

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

    def end(self, reason: str | None) -> None:
        """The source has ended, or could not be opened."""
        self._end = reason or "the source has ended"

    def problem(self) -> str | None:
        """Why the source is not well; None while frames come and the estimator answers."""
        now_s = time.perf_counter()
        with self._lock:
            frame_s, keyframe_s = self._frame_s, self._keyframe_s
        if self._end is not None:
            return shown(self._end)
        if isinstance(self._stream, Opening):
            return "the source is not open yet" + (f" ({shown(self._failure)})" if self._failure else "")
        if self._loss is not None:
            return f"the source is lost ({shown(self._loss)}) and is opened again and again"
        if frame_s is None or keyframe_s is None:
            return "no frame has come yet"
        if now_s - frame_s > SILENT_S:
            return f"no frame has come for {now_s - frame_s:.1f} s"
        if frame_s - keyframe_s > LOOK_LIMIT_S:
            return f"the estimator has not answered for {now_s - keyframe_s:.1f} s"
        return None

    def families(self) -> Iterator[_Family]:
        """What there is to tell, without the label of the source."""
        stats, score, now_s = self._stream.stats, self._stream.score, time.perf_counter()
        counters = dict(stats.counters)
        with self._lock:
            motions, people, frame_s, keyframe_s = dict(self._motions), self._people, self._frame_s, self._keyframe_s
        info: list[_Sample] = [("", (("version", made_by().split()[-1]),), 1)]
        yield "info", "gauge", "What runs.", info
        yield "healthy", "gauge", "1 while frames come and the estimator answers.", _one(int(self.problem() is None))
        yield "frames_total", "counter", "Frames of the source that were read.", _one(stats.frames)
        kinds = {str(is_final).lower(): count for is_final, count in motions.items()}
        about = "Motions that came out; each frame is provisional first, then final."
        yield "motions_total", "counter", about, _by("final", kinds)
        drops = {key.removeprefix(_DROPPED): n for key, n in counters.items() if key.startswith(_DROPPED)}
        yield "dropped_frames_total", "counter", "Frames that were left out, by reason.", _by("reason", drops)
        reconnects = counters.get(_REOPENED, 0)
        yield "reconnects_total", "counter", "How often the source was opened again.", _one(reconnects)
        yield "estimator_calls_total", "counter", "Calls of the pose estimator.", _one(stats.estimator_calls)
        failures = {kind: counters.get(key, 0) for key, kind in _FAILURES.items()}
        yield "estimator_failures_total", "counter", "Calls that failed or were given up.", _by("kind", failures)
        yield "keyframes_total", "counter", "Frames that the estimator has looked at.", _one(stats.keyframes)
        rest = {key: n for key, n in counters.items() if key not in _OWN_NAMES and not key.startswith(_DROPPED)}
        about = "What else was counted, such as repaired times and sends that failed."
        yield "events_total", "counter", about, _by("kind", rest)
        yield "stage_seconds_total", "counter", "Wall-clock time by stage.", _by("stage", dict(stats.seconds))
        yield "people", "gauge", "People in the newest frame.", _one(people)
        if keyframe_s is not None and frame_s is not None:
            yield "keyframe_age_seconds", "gauge", "Since the estimator answered last.", _one(now_s - keyframe_s)
            yield "frame_age_seconds", "gauge", "Since the newest frame came out.", _one(now_s - frame_s)
        if score is not None:
            errors: list[_Sample] = [
                ("", (("horizon_s", f"{horizon_s:g}"), ("method", method)), error)
                for horizon_s, row in score.errors().items()
                for method, error in row.items()
            ]
            yield "forecast_error_scales", "gauge", "Mean error of the last minute's forecasts, in body scales.", errors
        yield "latency_seconds", "histogram", "From the picture of a live frame to its first pose.", self._histogram()

    def _histogram(self) -> list[_Sample]:
        """How long live frames were on their way, from the picture to the first pose."""
        with self._lock:
            totals, sum_s = list(accumulate(self._counts)), self._latency_sum_s
        bounds = [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
        buckets: list[_Sample] = [
            ("_bucket", (("le", bound),), total) for bound, total in zip(bounds, totals, strict=True)
        ]
        return [*buckets, ("_sum", (), sum_s), ("_count", (), totals[-1])]

    def _finish(self) -> None:
        pass


class MetricsServer:
    """Answers for the metrics and the health of all sources of a job, from before they are open until `close`."""

    def __init__(self, sources: Sequence[str], address: Address) -> None:
        """`sources` are their names, each of them once. Raises `OutputError` where they cannot be served."""
        self.sources = [Metrics(source) for source in sources]
        texts = {METRICS_PATH: Text(self._metrics), HEALTH_PATH: Text(self._health, is_open=True)}
        words = Words("the metrics", "--metrics PORT", "leave --metrics out")
        self._server = Server(address, texts=texts, words=words)

    @property
    def url(self) -> str:
        """What Prometheus reads."""
        return self._server.url_of(METRICS_PATH)

    def text(self) -> str:
        """All metrics in Prometheus' text format, which has each name once, with the values of all sources."""
        families: dict[str, list[str]] = {}
        for source in self.sources:
            for name, kind, about, samples in source.families():
                lines = families.setdefault(name, [f"# HELP mixsynth_{name} {about}", f"# TYPE mixsynth_{name} {kind}"])
                for suffix, labels, value in samples:
                    all_labels = _text((("source", source.source), *labels))
                    lines.append(f"mixsynth_{name}{suffix}{{{all_labels}}} {_number(value)}")
        return "\n".join(line for lines in families.values() for line in lines) + "\n"

    def close(self) -> None:
        """Serve no more. Safe to call twice."""
        self._server.close()

    def _metrics(self) -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, _TYPE, self.text().encode()

    def _health(self) -> tuple[HTTPStatus, str, bytes]:
        """200 while all sources are well, else 503 and which is not, and why."""
        problems = {one.source: one.problem() for one in self.sources}
        failures = {source: reason for source, reason in problems.items() if reason is not None}
        record: dict[str, Any] = {"status": "failing" if failures else "ok"}
        if failures:
            is_one = len(problems) == 1
            record["reason"] = "; ".join(reason if is_one else f"{name}: {reason}" for name, reason in failures.items())
        record["sources"] = {name: "ok" if reason is None else reason for name, reason in problems.items()}
        status = HTTPStatus.SERVICE_UNAVAILABLE if failures else HTTPStatus.OK
        return status, "application/json", (json.dumps(record) + "\n").encode()


def _one(value: float) -> list[_Sample]:
    return [("", (), value)]


def _by(label: str, values: Mapping[str, float]) -> list[_Sample]:
    return [("", ((label, key),), value) for key, value in sorted(values.items())]


def _text(labels: _Labels) -> str:
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"

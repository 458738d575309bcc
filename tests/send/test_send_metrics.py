"""Metrics and health, as Prometheus and a watchdog read them."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from support.moving_stream import MovingStream

from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.looks import LOOK_LIMIT_S
from mixsynth_stream.send import metrics
from mixsynth_stream.send.metrics import SILENT_S, MetricsServer
from mixsynth_stream.viewer.web.access import Address

pytest.importorskip("websockets", reason="the server needs websockets: make dev")


class Clock:
    """A `time` that goes on when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(metrics, "time", clock)
    return clock


@pytest.fixture
def stream() -> MovingStream:
    return MovingStream()


@pytest.fixture
def server(clock: Clock, stream: MovingStream) -> Iterator[MetricsServer]:
    with contextlib.closing(MetricsServer(["rtsp://me:***@camera/1"], Address(port=0))) as server:
        server.sources[0].watch(stream)
        yield server


def get(server: MetricsServer, path: str, **headers: str) -> tuple[int, str]:
    url = server.url.replace("/metrics", path)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    """The values by name and labels, without that of the only source; every line must be one that Prometheus reads."""
    values: dict[str, float] = {}
    families: list[str] = []
    for line in text.splitlines():
        if match := re.fullmatch(r"# (HELP|TYPE) (mixsynth_\w+) .+", line):
            assert (match[2] in families) == (match[1] == "TYPE"), "each family comes once, as a whole"
            families += [match[2]] if match[1] == "HELP" else []
            continue
        match = re.fullmatch(r'(mixsynth_\w+?)((?:_bucket|_sum|_count)?\{source="[^\n]+\}) (\S+)', line)
        assert match, line
        assert match[1] == families[-1], line
        labels = re.sub(r'(?<=\{)source="rtsp://me:\*\*\*@camera/1",?', "", match[2]).replace("{}", "")
        assert match[1] + labels not in values, line
        values[match[1] + labels] = float(match[3])
    return values


def test_what_a_stream_costs_and_loses(server: MetricsServer, stream: MovingStream, clock: Clock) -> None:
    stream.stats.frames, stream.stats.keyframes, stream.stats.estimator_calls = 9, 2, 3
    stream.stats.count("dropped_consumer_behind", 4)
    stream.stats.count("reopened", 2)
    stream.stats.count("estimator_hung")
    stream.stats.count("sends_failed", 5)
    server.sources[0].write(stream.motion(8, 0.3))
    server.sources[0].write(stream.motion(7, 0.2, final=True))
    clock.now_s += 0.25
    status, text = get(server, "/metrics")
    assert status == 200
    values = samples(text)
    expected = {
        "frames_total": 9,
        "keyframes_total": 2,
        "estimator_calls_total": 3,
        'dropped_frames_total{reason="consumer_behind"}': 4,
        "reconnects_total": 2,
        'estimator_failures_total{kind="hung"}': 1,
        'estimator_failures_total{kind="failed"}': 0,
        'events_total{kind="sends_failed"}': 5,
        'motions_total{final="true"}': 1,
        'motions_total{final="false"}': 1,
        "people": 1,
        "keyframe_age_seconds": 0.25,
        "frame_age_seconds": 0.25,
        "healthy": 1,
        'forecast_error_scales{horizon_s="0.2",method="hold"}': 0.16,
        'latency_seconds_bucket{le="0.002"}': 0,
        'latency_seconds_bucket{le="0.005"}': 1,
        'latency_seconds_bucket{le="+Inf"}': 1,
        "latency_seconds_count": 1,
        "latency_seconds_sum": 0.004,
    }
    assert {name: values[f"mixsynth_{name}"] for name in expected} == pytest.approx(expected)
    assert "secret" not in text


def test_health_has_a_reason(server: MetricsServer, stream: MovingStream, clock: Clock) -> None:
    def health() -> tuple[int, str]:
        status, text = get(server, "/health")
        return status, json.loads(text).get("reason", "")

    assert health() == (503, "no frame has come yet")
    server.sources[0].write(stream.motion(0, 0.0))
    assert health() == (200, "")
    clock.now_s += SILENT_S + 0.5
    assert health() == (503, "no frame has come for 3.5 s")
    server.sources[0].tell(SourceEvent("lost", 1.0, 1, "rtsp://me:secret@camera/1 is silent"))
    server.sources[0].write(stream.motion(1, 3.5))
    assert health() == (503, "the source is lost (rtsp://me:***@camera/1 is silent) and is opened again and again")
    server.sources[0].tell(SourceEvent("back", 4.0, 1))
    assert health() == (200, "")
    for index in range(2, 10):  # frames come, and no answer of the estimator
        clock.now_s += 1.0
        server.sources[0].write(stream.motion(index, float(index)))
    status, reason = health()
    assert status == 503
    assert reason == f"the estimator has not answered for {SILENT_S + 0.5 + 8:.1f} s"
    assert SILENT_S + 8 > LOOK_LIMIT_S
    stream.stats.keyframes += 1
    server.sources[0].write(stream.motion(10, 10.0))
    assert health() == (200, "")


def test_each_source_has_its_values_and_its_health(clock: Clock, stream: MovingStream) -> None:
    first, second = 'rtsp://a/"1"', "clip.mp4"

    def health() -> tuple[int, str, dict[str, str]]:
        status, text = get(server, "/health")
        record = json.loads(text)
        return status, record.get("reason", ""), record["sources"]

    with contextlib.closing(MetricsServer([first, second], Address(port=0))) as server:
        assert health()[0] == 503
        one, other = server.sources
        other.not_open("rtsp://me:secret@b cannot be opened")
        one.watch(stream)
        one.write(stream.motion(0, 0.0))
        reason = "the source is not open yet (rtsp://me:***@b cannot be opened)"
        assert health() == (503, f"{second}: {reason}", {first: "ok", second: reason})
        again = MovingStream()
        again.stats.frames = 7
        other.watch(again)
        other.write(again.motion(0, 0.0))
        assert health() == (200, "", {first: "ok", second: "ok"})
        values = samples(get(server, "/metrics")[1])
        assert values[r'mixsynth_frames_total{source="rtsp://a/\"1\""}'] == 0
        assert values['mixsynth_frames_total{source="clip.mp4"}'] == 7
        assert values['mixsynth_latency_seconds_count{source="clip.mp4"}'] == 1
        other.end("clip.mp4 was lost")
        one.end(None)
        assert health()[2] == {first: "the source has ended", second: "clip.mp4 was lost"}
        values = samples(get(server, "/metrics")[1])
        assert values['mixsynth_healthy{source="clip.mp4"}'] == 0


def test_who_may_ask(stream: MovingStream) -> None:
    with contextlib.closing(MetricsServer(["camera"], Address("0.0.0.0", 0))) as server:
        server.sources[0].watch(stream)
        token = server.url.partition("?token=")[2]
        bare = f"http://127.0.0.1:{server._server.port}/metrics"
        server_url = bare
        assert status_of(server_url) == 401
        assert status_of(f"{bare}?token={token}") == 200
        assert status_of(bare, Authorization=f"Bearer {token}") == 200
        assert status_of(bare, Authorization=f"Bearer {token}x") == 401
        assert status_of(bare.replace("/metrics", "/health")) == 503, "a watchdog sees nobody and needs no token"
        assert status_of(f"{bare}?token={token}", Host="evil.example") == 421
        assert status_of(f"{bare}?token={token}", Origin="http://evil.example") == 403


def status_of(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code

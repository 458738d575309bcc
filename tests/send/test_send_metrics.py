"""Metrics and health, as Prometheus and a watchdog read them."""

from __future__ import annotations

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
    with MetricsServer(stream, Address(port=0)) as server:
        yield server


def get(server: MetricsServer, path: str, **headers: str) -> tuple[int, str]:
    url = server.url.replace("/metrics", path)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    """The values by name and labels; every line has to be one that Prometheus reads."""
    values = {}
    families = set()
    for line in text.splitlines():
        if match := re.fullmatch(r"# (?:HELP|TYPE) (mixsynth_\w+) .+", line):
            families.add(match[1])
            continue
        match = re.fullmatch(r'(mixsynth_\w+?)((?:_bucket|_sum|_count)?(?:\{(?:\w+="[^"\n]*",?)+\})?) (\S+)', line)
        assert match, line
        assert match[1] in families, line
        values[match[1] + match[2]] = float(match[3])
    return values


def test_what_a_stream_costs_and_loses(server: MetricsServer, stream: MovingStream, clock: Clock) -> None:
    stream.stats.frames, stream.stats.keyframes, stream.stats.estimator_calls = 9, 2, 3
    stream.stats.count("dropped_consumer_behind", 4)
    stream.stats.count("reopened", 2)
    stream.stats.count("estimator_hung")
    stream.stats.count("sends_failed", 5)
    server.write(stream.motion(8, 0.3))
    server.write(stream.motion(7, 0.2, final=True))
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
    assert 'source="rtsp://me:***@camera/1"' in text
    assert "secret" not in text


def test_health_has_a_reason(server: MetricsServer, stream: MovingStream, clock: Clock) -> None:
    def health() -> tuple[int, str]:
        status, text = get(server, "/health")
        return status, json.loads(text).get("reason", "")

    assert health() == (503, "no frame has come yet")
    server.write(stream.motion(0, 0.0))
    assert health() == (200, "")
    clock.now_s += SILENT_S + 0.5
    assert health() == (503, "no frame has come for 3.5 s")
    server.tell(SourceEvent("lost", 1.0, 1, "rtsp://me:secret@camera/1 is silent"))
    server.write(stream.motion(1, 3.5))
    assert health() == (503, "the source is lost (rtsp://me:***@camera/1 is silent) and is opened again and again")
    server.tell(SourceEvent("back", 4.0, 1))
    assert health() == (200, "")
    for index in range(2, 10):  # frames come, and no answer of the estimator
        clock.now_s += 1.0
        server.write(stream.motion(index, float(index)))
    status, reason = health()
    assert status == 503
    assert reason == f"the estimator has not answered for {SILENT_S + 0.5 + 8:.1f} s"
    assert SILENT_S + 8 > LOOK_LIMIT_S
    stream.stats.keyframes += 1
    server.write(stream.motion(10, 10.0))
    assert health() == (200, "")


def test_who_may_ask(stream: MovingStream) -> None:
    with MetricsServer(stream, Address("0.0.0.0", 0)) as server:
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

"""Poses over a WebSocket, as a program reads them: the schema, slow readers, and who is let in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from support.moving_stream import MovingStream

from mixsynth_stream.export.header import Header, Settings
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.send.poses import _WAITING, PoseChannel, PoseServer, PoseSink, _Program
from mixsynth_stream.send.targets import Target
from mixsynth_stream.viewer.web.access import TOKEN_VARIABLE, Address
from mixsynth_stream.viewer.web.view import WebView

websockets = pytest.importorskip("websockets", reason="poses for programs need websockets: make dev")
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402


@pytest.fixture
def stream() -> MovingStream:
    return MovingStream()


HEADER = Header(source="rtsp://camera/1", settings=Settings(every="auto", lag=0))


@contextmanager
def server_of(*sources: str, host: str = "127.0.0.1") -> Iterator[PoseServer]:
    with closing(PoseServer(Target.of(f"ws://{host}:0"), PoseChannel(sources))) as server:
        yield server


@pytest.fixture
def server() -> Iterator[PoseServer]:
    with server_of("rtsp://camera/1") as server:
        yield server


@pytest.fixture
def sink(server: PoseServer, stream: MovingStream) -> PoseSink:
    return server.channel.sink(0, stream, HEADER)


@contextmanager
def reader(server: PoseServer, query: str = "") -> Iterator[ClientConnection]:
    """A program that has read the header, and gets what comes from now on."""
    before = set(server.channel._programs)
    with connect(server.url + query, compression=None, max_size=None) as connection:
        header = json.loads(connection.recv(timeout=5))
        assert (header["type"], header["protocol"], header["format"]) == ("header", 1, "mixsynth-stream poses")
        assert len(header["joints"]) == 33
        _until(lambda: bool(server.channel._programs - before))
        yield connection


def _until(condition: Any) -> None:
    end_s = time.perf_counter() + 5
    while not condition():
        assert time.perf_counter() < end_s
        time.sleep(0.005)


def message(connection: ClientConnection) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(connection.recv(timeout=5))
    return record


def test_a_program_gets_each_frame_as_the_file_has_it(server: PoseServer, sink: PoseSink, stream: MovingStream) -> None:
    with reader(server) as connection:
        for index in range(3):
            sink.write(stream.motion(index, index / 30))
        sink.write(stream.motion(0, 0.0, final=True))
        frames = [message(connection) for _ in range(4)]
        sink.tell(SourceEvent("lost", 0.2, 3, "no picture"))
        event = {"type": "event", "event": "lost", "time_s": 0.2, "before_index": 3, "about": "no picture"}
        assert message(connection) == event
    assert [(frame["index"], frame["final"]) for frame in frames] == [(0, False), (1, False), (2, False), (0, True)]
    assert all(frame["type"] == "frame" and not {"missed", "source"} & set(frame) for frame in frames)
    assert {frame["method"] for frame in frames} == {"network"}
    person = frames[0]["people"][0]
    assert {"id", "pose_px", "world_m", "scores", "origin", "sigma_px"} <= set(person)
    assert person["pose_px"][11] == pytest.approx(stream.at(0.0).poses[0, 11].round(2))
    assert (frames[0]["width"], frames[0]["height"]) == (640, 480)


@pytest.mark.parametrize(("poses", "expected"), [("now", [(0, False), (1, False)]), ("final", [(0, True)])])
def test_a_program_may_have_the_frames_of_now_or_the_final_ones(
    poses: str, expected: list[tuple[int, bool]], server: PoseServer, sink: PoseSink, stream: MovingStream
) -> None:
    with reader(server, f"?poses={poses}") as connection:
        sink.write(stream.motion(0, 0.0))
        sink.write(stream.motion(0, 0.0, final=True))
        sink.write(stream.motion(1, 1 / 30))
        sink.tell(SourceEvent("back", 1.0, 2))
        messages = []
        while (record := message(connection))["type"] == "frame":
            messages.append((record["index"], record["final"]))
    assert messages == expected


def test_a_slow_program_goes_on_with_the_newest_frame(server: PoseServer, sink: PoseSink, stream: MovingStream) -> None:
    count = 6 * _WAITING
    with reader(server) as slow, reader(server) as quick:
        indices: list[int] = []
        thread = threading.Thread(target=lambda: indices.extend(message(quick)["index"] for _ in range(count)))
        thread.start()
        for index in range(count):
            sink.write(stream.motion(index, index / 30))
            if index % 16 == 0:
                _until(lambda least=index - 32: len(indices) >= least)
        thread.join(10)
        assert indices == list(range(count)), "others are not held up"
        frames = [message(slow)]
        while frames[-1]["index"] < count - 1:
            frames.append(message(slow))
    missed = sum(frame.get("missed", 0) for frame in frames)
    assert len(frames) + missed == count
    assert missed > 0


def test_a_program_that_comes_before_several_sources_are_open_gets_each_with_its_name(stream: MovingStream) -> None:
    stream.score.method = "kalman"
    with server_of("webcam:0", "webcam:1", "gone") as server, connect(server.url, max_size=None) as early:
        channel = server.channel
        _until(lambda: bool(channel._programs))
        sinks = [channel.sink(number, stream, HEADER) for number in (1, 0)]
        for index, sink in enumerate(sinks):
            sink.write(stream.motion(index, 0.0))
        sinks[0].tell(SourceEvent("back", 1.0, 2))
        channel.end(2, "rtsp://me:secret@gone cannot be opened")
        kinds = [(record["type"], record["source"]) for record in (message(early) for _ in range(6))]
        assert kinds == [
            ("header", "webcam:1"),
            ("header", "webcam:0"),
            ("frame", "webcam:1"),
            ("frame", "webcam:0"),
            ("event", "webcam:1"),
            ("end", "gone"),
        ]
        with connect(server.url, max_size=None) as late:
            records = [message(late) for _ in range(3)]
            assert [record["source"] for record in records] == ["webcam:1", "webcam:0", "gone"]
            assert records[2] == {"type": "end", "source": "gone", "about": "rtsp://me:***@gone cannot be opened"}
            _until(lambda: len(channel._programs) == 2)
            sinks[1].write(stream.motion(9, 0.3))
            assert (frame := message(late))["index"] == 9
            assert frame["method"] == "kalman"


def test_a_program_that_is_slow_misses_frames_and_no_header_and_none_of_another_source(stream: MovingStream) -> None:
    program = _Program("all")
    program.put(0, '{"type":"header"}', stays=True)
    program.put(1, '{"of":1}')
    for index in range(_WAITING + 1):
        program.put(0, f'{{"index":{index}}}')
    texts = list(iter(program.take, None))
    assert texts == ['{"type":"header"}', '{"of":1}', f'{{"missed":{_WAITING},"index":{_WAITING}}}']


def test_the_end_of_the_stream_is_told(server: PoseServer, sink: PoseSink) -> None:
    with reader(server) as connection:
        server.close()
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=5)
        assert connection.close_code == 1001


@pytest.mark.parametrize(("query", "text"), [("", "hello"), ("?poses=all", "x" * 5000), ("?poses=best", None)])
def test_a_program_that_says_something_is_sent_away(
    query: str, text: str | None, server: PoseServer, sink: PoseSink
) -> None:
    with connect(server.url + query) as connection, pytest.raises(ConnectionClosed):
        if text is not None:
            connection.send(text)
        while True:
            connection.recv(timeout=5)
    assert connection.close_code in (1008, 1009)
    with reader(server):
        pass  # others are served as before


def test_another_sites_page_gets_nothing(server: PoseServer) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(server.url, origin="http://evil.example"):
        pass
    assert refusal.value.response.status_code == 403


def test_beyond_loopback_a_program_needs_the_token(monkeypatch, stream: MovingStream) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-of-my-own")
    with server_of("rtsp://camera/1", host="0.0.0.0") as server:
        server.channel.sink(0, stream, HEADER)
        assert server.url.endswith("?token=a-token-of-my-own")
        url = f"ws://127.0.0.1:{server._server.port}/poses"
        with pytest.raises(InvalidStatus) as refusal, connect(url):
            pass
        assert refusal.value.response.status_code == 401
        for options in ({"additional_headers": {"Authorization": "Bearer a-token-of-my-own"}}, {}):
            with connect(url if options else f"{url}?token=a-token-of-my-own", **options) as connection:
                assert message(connection)["type"] == "header"


def test_a_token_that_anybody_could_guess_is_refused(monkeypatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    with pytest.raises(ValueError, match="must have 16 characters or more, found 6"):
        PoseServer(Target.of("ws://0.0.0.0:0"), PoseChannel(["camera"]))


def test_a_page_has_the_poses_for_programs_beside_it(stream: MovingStream) -> None:
    own, view = PoseChannel(["camera"]), WebView(stream, Address(port=0))
    view.add_channel(own)
    sink = own.sink(0, stream, HEADER)
    with view, connect(f"ws://127.0.0.1:{view.server.port}/poses") as connection:
        assert message(connection)["type"] == "header"
        _until(lambda: bool(own._programs))
        sink.write(stream.motion(0, 0.0))
        assert message(connection)["index"] == 0

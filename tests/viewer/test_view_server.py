"""The server of the view, over real sockets: what it serves, whom it refuses, and what it does with slow viewers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import av
import pytest
from support.moving_stream import HEIGHT, WIDTH, MovingStream, x_px

from mixsynth_stream.errors import OutputError
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.viewer.web.access import Address
from mixsynth_stream.viewer.web.server import MAX_VIEWERS, pages
from mixsynth_stream.viewer.web.view import WebView

websockets = pytest.importorskip("websockets", reason="the view in a browser needs websockets: make dev")
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402


@pytest.fixture
def stream() -> MovingStream:
    return MovingStream()


@pytest.fixture
def view(stream: MovingStream) -> Iterator[WebView]:
    with WebView(stream, Address(port=0)) as view:
        yield view


def viewer(view: WebView, query: str = "", **options: Any) -> ClientConnection:
    origin = f"http://127.0.0.1:{view.server.port}"
    url = f"ws://127.0.0.1:{view.server.port}/stream{query}"
    return connect(url, origin=options.pop("origin", origin), compression=None, **options)


def draw(connection: ClientConnection, **request: Any) -> tuple[dict[str, Any], bytes]:
    """One request and its answer: the message and the picture."""
    connection.send(json.dumps({"type": "draw"} | request))
    return answer(connection)


def answer(connection: ClientConnection) -> tuple[dict[str, Any], bytes]:
    data = connection.recv(timeout=5)
    assert isinstance(data, bytes)
    length = int.from_bytes(data[:4], "little")
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def http(view: WebView, request: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request as it stands here."""
    with socket.create_connection(("127.0.0.1", view.server.port), timeout=5) as connection:
        connection.sendall(request.encode())
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}, body


def get(view: WebView, path: str, host: str = "127.0.0.1", **headers: str) -> tuple[int, dict[str, str], bytes]:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return http(view, "\r\n".join(lines) + "\r\n\r\n")


def bare_viewer(view: WebView) -> socket.socket:
    """A viewer that neither reads nor says farewell."""
    connection = socket.create_connection(("127.0.0.1", view.server.port), timeout=5)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    origin = f"Origin: http://localhost:{view.server.port}\r\nHost: localhost:{view.server.port}\r\n"
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    connection.sendall(f"GET /stream HTTP/1.1\r\n{origin}{upgrade}{key}\r\n".encode())
    assert b"101" in connection.recv(50)
    return connection


def test_the_page_is_served_with_its_policy(view: WebView) -> None:
    status, headers, body = get(view, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"main.js" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert {"/", "/index.html", "/main.js", "/view.css"} <= set(pages())
    for path, (kind, contents) in pages().items():
        status, headers, body = get(view, path)
        assert (status, body) == (200, contents), path
        assert headers["content-type"].startswith(kind)
        assert b"http://" not in contents.replace(b"http://www.w3.org", b""), "the page loads nothing from elsewhere"
        assert b"https://" not in contents


@pytest.mark.parametrize(
    "path",
    [
        "/../access.py",
        "/..%2faccess.py",
        "/%2e%2e/access.py",
        "//etc/passwd",
        "/etc/passwd",
        "/static/main.js",
        "/main.js/",
        "/.",
        "*",
    ],
)
def test_no_path_leads_out_of_the_folder(view: WebView, path: str) -> None:
    status, _, body = get(view, path)
    assert status == 404
    assert body == b"there is no such page: open / of this server\n"


def test_a_foreign_name_sees_nothing(view: WebView) -> None:
    for path in ("/", "/main.js", "/stream"):
        status, _, body = get(view, path, host="evil.example")
        assert status == 421
        assert b"evil.example" in body
    assert http(view, "GET / HTTP/1.1\r\n\r\n")[0] == 421
    assert http(view, "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")[0] == 400


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_a_foreign_page_cannot_watch(view: WebView, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refusal, viewer(view, origin=origin):
        pass
    assert refusal.value.response.status_code == 403
    assert b"may not watch" in (refusal.value.response.body or b"")


def test_beyond_loopback_only_who_has_the_token_watches(stream: MovingStream) -> None:
    with WebView(stream, Address("0.0.0.0", 0)) as view:
        token = view.url.partition("?token=")[2]
        url, origin = f"ws://127.0.0.1:{view.server.port}/stream", f"http://127.0.0.1:{view.server.port}"
        with pytest.raises(InvalidStatus) as refusal, connect(url, origin=origin):
            pass
        assert refusal.value.response.status_code == 401
        with connect(f"{url}?token={token}", origin=origin) as connection:
            assert json.loads(connection.recv(timeout=5))["type"] == "hello"


def test_what_is_seen(view: WebView, stream: MovingStream) -> None:
    with viewer(view) as connection:
        hello = json.loads(connection.recv(timeout=5))
        assert hello["source"] == "rtsp://me:***@camera/1"
        assert (hello["protocol"], len(hello["joints"]), hello["live"]) == (1, 33, True)
        assert draw(connection)[0]["state"] == "waiting"
        stream.write_for(view, 0.5)
        message, jpeg = draw(connection, ahead_s=0.1)
        while message["picture"]["index"] < message["index"]:  # it is being made
            message, jpeg = draw(connection, ahead_s=0.1)
        assert message["state"] == "live"
        assert message["time_s"] == pytest.approx(message["now_s"] + 0.1)
        (person,) = message["people"]
        shoulders = [person["joints"][hello["joints"].index(f"{side}_shoulder")] for side in ("left", "right")]
        assert sum(joint[0] for joint in shoulders) / 2 == pytest.approx(x_px(message["time_s"]), abs=0.1)
        assert shoulders[0][2:] == [0.9, hello["origins"]["forecast"], 6.0]
        assert (person["id"], len(message["ghosts"])) == (7, 3)
        assert [one["index"] for one in message["finals"]] == list(range(len(message["finals"])))
        assert message["stats"]["latency_ms"] == {"p50": 4.0, "p95": 4.0, "p99": 4.0}
        assert message["stats"]["errors"][0]["network"] == 0.04
        assert message["stats"]["method"] == "network"
        picture = message["picture"]
        assert picture["size"] == [WIDTH, HEIGHT]
        (frame,) = av.CodecContext.create("mjpeg", "r").decode(av.Packet(jpeg))
        rgb = frame.to_ndarray(format="rgb24")
        assert rgb.shape == (HEIGHT, WIDTH, 3)
        assert abs(int(rgb[:, (5 * picture["index"] + 10) % WIDTH].mean()) - 60) < 8
        still, _ = draw(connection, of="picture")
        assert still["time_s"] == still["picture"]["time_s"] < still["now_s"]
        again, nothing = draw(connection, picture=picture["index"], final=message["finals"][-1]["index"])
        assert (again["finals"], nothing, "picture" in again) == ([], b"", False)


def test_the_page_is_there_while_the_camera_opens(stream: MovingStream) -> None:
    with WebView(None, Address(port=0), source="rtsp://camera/1") as view, viewer(view) as connection:
        assert json.loads(connection.recv(timeout=5))["source"] == "rtsp://camera/1"
        message = draw(connection)[0]
        assert (message["state"], message["now_s"], message["stats"]["frames"]) == ("opening", None, 0)
        view.watch(stream)
        assert draw(connection)[0]["state"] == "waiting"
        stream.write_for(view, 0.1)
        assert draw(connection)[0]["state"] == "live"


def test_a_page_shows_any_of_several_sources_and_goes_on_when_one_ends(stream: MovingStream) -> None:
    with WebView(None, Address(port=0), source="webcam", others=["rtsp://me:secret@camera/2", "webcam"]) as view:
        with viewer(view) as first, viewer(view, "?source=1") as second, viewer(view, "?source=2") as third:
            hellos = [json.loads(connection.recv(timeout=5)) for connection in (first, second, third)]
            assert hellos[0]["sources"] == ["webcam", "rtsp://me:***@camera/2", "webcam (2)"]
            assert [(one["number"], one["source"]) for one in hellos] == list(enumerate(hellos[0]["sources"]))
            view.watch(stream, 1)
            with view.sink(1) as sink:
                sink.write(stream.motion(3, 0.1))
            view.end(2, "webcam cannot be opened")
            messages = [draw(connection)[0] for connection in (first, second, third)]
            assert [one["state"] for one in messages] == ["opening", "ended", "ended"]
            assert messages[1]["index"] == 3 and messages[2]["why"] == "webcam cannot be opened"
        with pytest.raises(InvalidStatus, match="404"):
            viewer(view, "?source=3")


def test_a_page_that_is_open_is_told_of_another_skeleton(stream: MovingStream) -> None:
    stream.skeleton = "COCO-17"
    with WebView(None, Address(port=0), source="webcam") as view, viewer(view) as connection:
        assert len(json.loads(connection.recv(timeout=5))["joints"]) == 33
        view.watch(stream)
        connection.send(json.dumps({"type": "draw"}))
        hello = json.loads(connection.recv(timeout=5))
        assert hello["type"] == "hello" and len(hello["joints"]) == 17
        assert isinstance(connection.recv(timeout=5), bytes)
        assert draw(connection)[0]["state"] == "waiting"


def test_what_happens_to_the_camera_is_told(view: WebView, stream: MovingStream) -> None:
    with viewer(view) as connection:
        connection.recv(timeout=5)
        stream.write_for(view, 0.1)
        view.tell(SourceEvent("lost", 1.234, 7, "it ended"))
        message = draw(connection)[0]
        assert (message["state"], message["why"]) == ("lost", "it ended")  # at once
        view.tell(SourceEvent("size", 3.0, 7, "320x240 after 640x480"))
        assert draw(connection)[0]["state"] == "lost"
        view.tell(SourceEvent("back", 3.0, 7, "pictures come again"))
        stream.write_for(view, 0.6)
        message = draw(connection)[0]
        assert message["state"] == "live"
        assert "why" not in message
        assert message["stats"]["events"] == [
            {"kind": "lost", "time_s": 1.23, "about": "it ended"},
            {"kind": "size", "time_s": 3.0, "about": "320x240 after 640x480"},
            {"kind": "back", "time_s": 3.0, "about": "pictures come again"},
        ]


def test_a_page_of_this_machine_may_end_the_stream_and_no_other(view: WebView, stream: MovingStream) -> None:
    with viewer(view) as connection:
        assert json.loads(connection.recv(timeout=5))["may_end"]
        assert not view.closed
        connection.send(json.dumps({"type": "end"}))
        draw(connection)  # messages are taken in order
        assert view.closed
    with WebView(stream, Address("0.0.0.0", 0)) as open_view:
        url = open_view.url.replace("http", "ws").replace("/?", "/stream?").replace(socket.gethostname(), "127.0.0.1")
        with connect(url, origin=f"http://127.0.0.1:{open_view.server.port}") as connection:
            assert not json.loads(connection.recv(timeout=5))["may_end"]
            connection.send(json.dumps({"type": "end"}))
            with pytest.raises(ConnectionClosed):
                connection.recv(timeout=5)
        assert not open_view.closed


def test_a_stall_is_told_and_ends(view: WebView, stream: MovingStream) -> None:
    with viewer(view) as connection:
        connection.recv(timeout=5)
        stream.write_for(view, 0.2)
        assert draw(connection)[0]["state"] == "live"
        time.sleep(1.1)
        assert draw(connection)[0]["state"] == "lost"
        stream.write_for(view, 0.1)
        assert draw(connection)[0]["state"] == "live"


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        '{"type": "other"}',
        '{"type": "draw", "picture": "1"}',
        '{"type": "draw", "ahead_s": 9}',
        '{"type": "draw", "of": "never"}',
        '{"type": "draw", "ahead_s": NaN}',
        '{"type": "draw", "picture": 1e400}',
        "[" * 900,
        b"\xff\xfe",
    ],
)
def test_a_malformed_message_ends_its_own_connection_only(view: WebView, message: str | bytes) -> None:
    with viewer(view) as other, viewer(view) as connection:
        connection.recv(timeout=5)
        connection.send(message)
        with pytest.raises(ConnectionClosed) as end:
            connection.recv(timeout=5)
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1008
        other.recv(timeout=5)
        assert draw(other)[0]["type"] == "now"


def test_an_oversized_message_and_bytes_of_no_protocol_end_their_connection(view: WebView) -> None:
    with viewer(view) as connection:
        connection.recv(timeout=5)
        connection.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as end:
            connection.recv(timeout=5)
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1009
    with socket.create_connection(("127.0.0.1", view.server.port), timeout=5) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00" + bytes(200) + b"\r\n\r\n")
        raw.recv(4096)
    assert get(view, "/")[0] == 200


def test_a_slow_viewer_gets_the_newest_frame(view: WebView, stream: MovingStream) -> None:
    """It misses frames instead of seeing old ones, and nobody waits for it."""
    with viewer(view) as slow, viewer(view) as quick:
        for connection in (slow, quick):
            connection.recv(timeout=5)
        writer = threading.Thread(target=stream.write_for, args=(view, 1.5))
        writer.start()
        draw(slow)
        seen: list[int] = []
        while writer.is_alive():
            message, _ = draw(quick, picture=seen[-1] if seen else -1)
            seen += [message["picture"]["index"]] if "picture" in message else []
            time.sleep(0.005)
        message, _ = draw(slow)
        assert message["index"] - message["picture"]["index"] <= 2
        assert stream.now_s - message["now_s"] < 0.2
        # The first pictures are made once somebody asks for them.
        assert len(seen) >= 0.6 * stream.stats.frames


def test_many_viewers(view: WebView) -> None:
    with contextlib.ExitStack() as connections:
        for _ in range(MAX_VIEWERS):
            connections.enter_context(viewer(view)).recv(timeout=5)
        with pytest.raises(InvalidStatus) as refusal, viewer(view):
            pass
        assert refusal.value.response.status_code == 503
    # Their places are free again.
    with viewer(view) as connection:
        assert connection.recv(timeout=5)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted on Linux")
def test_viewers_that_come_and_go_leave_nothing_behind(view: WebView) -> None:
    def round_of_viewers() -> tuple[int, int]:
        for _ in range(20):
            with viewer(view) as connection:
                connection.recv(timeout=5)
                draw(connection)
            bare_viewer(view).close()
            get(view, "/")
        end_s = time.monotonic() + 5
        while view.server.viewers and time.monotonic() < end_s:
            time.sleep(0.01)
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    threads, files = round_of_viewers()
    later_threads, later_files = round_of_viewers()
    assert later_threads <= threads + 1  # one more worker may have started
    assert later_files <= files + 2


def test_no_picture_is_made_while_nobody_watches(view: WebView, stream: MovingStream) -> None:
    stream.write_for(view, 0.3)
    with viewer(view) as connection:
        connection.recv(timeout=5)
        assert draw(connection)[1] == b""


def test_closing_is_quick_with_viewers_that_do_not_answer(stream: MovingStream) -> None:
    view = WebView(stream, Address(port=0))
    with viewer(view) as watching, socket.create_connection(("127.0.0.1", view.server.port)) as silent:
        watching.recv(timeout=5)
        silent.sendall(b"GET / HTT")
        deaf = bare_viewer(view)
        start_s = time.perf_counter()
        view.close()
        assert time.perf_counter() - start_s < 2
        with pytest.raises(ConnectionClosed) as end:
            watching.recv(timeout=5)
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1001
        deaf.close()
    view.close()
    assert "view server" not in {thread.name for thread in threading.enumerate()}


def test_a_port_in_use_gets_a_sentence(view: WebView, stream: MovingStream) -> None:
    with pytest.raises(OutputError, match=f"port {view.server.port}, which is in use.*--view-at"):
        WebView(stream, Address(port=view.server.port))
    with pytest.raises(OutputError, match="give an address of this machine"):
        WebView(stream, Address("192.0.2.1", 0))
    assert "view server" in {thread.name for thread in threading.enumerate()}  # that of the fixture goes on


def test_without_a_port_a_second_view_takes_a_free_one(stream: MovingStream) -> None:
    with WebView(stream) as first, WebView(stream) as second:
        assert first.server.port != second.server.port

"""How live sources open: once, when they are there, and at once ended by Ctrl-C where a server hangs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from support import clips
from support.file_server import serve
from support.network import network_to

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source


@pytest.mark.parametrize("address", ["rtsp://no-such-host.invalid/a", "http://no-such-host.invalid/a.mp4"])
def test_a_host_that_nobody_knows_is_told(address: str) -> None:
    with pytest.raises(SourceError, match=r"no computer is known by the name no-such-host\.invalid"):
        open_source(address)


def test_a_file_on_a_web_server_is_opened_once(tmp_path: Path) -> None:
    clips.make(tmp_path / "a.ts", frames=40)
    with serve(tmp_path) as address, network_to(int(address.rpartition(":")[2])) as network:
        with open_source(f"http://127.0.0.1:{network.port}/a.ts") as reader:
            assert not reader.info.live
            assert len(list(reader)) == 40
        # FFmpeg itself goes to the end for the duration, and back.
        opened = network.connections
        with av.open(f"http://127.0.0.1:{network.port}/a.ts") as container:
            list(container.decode(video=0))
        assert opened <= network.connections - opened


def test_a_stream_of_a_web_server_is_opened_once(tmp_path: Path) -> None:
    data = clips.make(tmp_path / "a.ts", frames=300).read_bytes()
    server, addresses = socket.create_server(("127.0.0.1", 0)), []

    def send() -> None:
        while True:
            connection, address = server.accept()
            addresses.append(address)
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
            connection.sendall(data)

    threading.Thread(target=send, daemon=True).start()
    with open_source(f"http://127.0.0.1:{server.getsockname()[1]}/live") as reader:
        assert reader.info.live
        assert next(reader).index == 0
        assert len(addresses) == 1


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp"])
@pytest.mark.skipif(sys.platform == "win32", reason="no Ctrl-C for another process here")
def test_ctrl_c_ends_the_wait_for_a_server_that_hangs(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/a"
        command = [sys.executable, "-m", "mixsynth_stream", "run", source]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = server.accept()
            start_s = time.perf_counter()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert time.perf_counter() - start_s < 2.0
            connection.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_hangs_is_given_up_after_the_time_that_the_user_sets(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        start_s = time.perf_counter()
        with pytest.raises(SourceError, match="no answer in time"):
            open_source(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/a", request=LiveRequest(timeout_s=0.5))
        assert time.perf_counter() - start_s < 3.0


def test_a_live_web_server_that_falls_silent_is_lost_and_opened_again(tmp_path: Path) -> None:
    data = clips.make(tmp_path / "a.ts", frames=30).read_bytes()
    server, connections = socket.create_server(("127.0.0.1", 0)), []

    def send() -> None:
        while True:
            connections.append(server.accept()[0])  # and stays open
            connections[-1].recv(4096)
            connections[-1].sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + data)

    threading.Thread(target=send, daemon=True).start()
    address, events = f"http://127.0.0.1:{server.getsockname()[1]}/live", []
    with open_source(address, request=LiveRequest(timeout_s=1.0)) as reader:
        while [event.kind for event in events] != ["lost", "back"]:
            events += reader.events_before(reader.read(0.5))
    assert events[0].about == "no answer in time"


@pytest.mark.parametrize("code", [401, 403])
def test_a_web_server_that_wants_a_password_is_told(code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            while True:
                connection = server.accept()[0]
                connection.recv(4096)
                connection.sendall(f"HTTP/1.0 {code} No\r\nContent-Length: 0\r\n\r\n".encode())
                connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        with pytest.raises(SourceError, match="without the right user and password: put USER:PASSWORD@ before"):
            open_source(f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("foo://127.0.0.1/a", "does not know foo://; give another address"),
        ("rtsp://127.0.0.1:99999/a", "its port is no number up to 65535"),
        ("http://127.0.0.1:99999/a.mp4", "its port is no number up to 65535"),
        ("tcp://127.0.0.1", "its port is missing"),
    ],
)
def test_an_address_that_is_none_is_told(address: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        open_source(address)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras are files on Linux only")
def test_a_path_that_is_no_camera_is_told() -> None:
    with pytest.raises(SourceError, match="webcam:/dev/null is no camera that gives pictures: choose one"):
        open_source("webcam:/dev/null")


def test_a_source_that_is_not_there_yet_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "later.mp4"
    threading.Timer(0.5, lambda: clips.make(tmp_path / "now.mp4").rename(path)).start()
    request = LiveRequest(wait=True)
    with LiveReader("camera", opener=lambda: av.open(str(path)), pause_s=lambda n: 0.05, request=request) as reader:
        assert next(reader).index == 0
    assert "waiting for it" in caplog.text
    assert len(caplog.records) == 1 + ("was lost" in caplog.text)


def test_frames_before_the_first_read_do_not_count() -> None:
    opener = lambda: av.open("testsrc2=size=64x48:rate=50,realtime", "r", format="lavfi")  # noqa: E731
    with LiveReader("camera", opener=opener) as reader:
        time.sleep(0.6)  # a model is loaded
        frame = next(reader)
        assert (frame.index, frame.time_s) == (0, 0.0)
        assert (reader.now_s() or 1.0) < 0.3
        assert [next(reader).index for _ in range(5)] == [1, 2, 3, 4, 5]
        assert reader.counters == {}


def test_a_file_played_as_live_keeps_its_speed_and_ends(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", frames=30)
    with open_source(str(path), request=LiveRequest(is_paced=True)) as reader:
        assert reader.info.live
        start_s = time.perf_counter()
        frames = list(reader)
        assert time.perf_counter() - start_s > 0.8 * 29 / 30
    assert frames[-1].index + 1 == 30
    assert len(frames) + reader.counters.get("dropped_consumer_behind", 0) == 30


def test_a_mirror_turns_pictures_and_their_luma(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", frames=3)
    with open_source(str(path)) as plain:
        first = next(plain).rgb
    with open_source(str(path), request=LiveRequest(is_paced=True, mirror=True)) as reader:
        frame = next(reader)
        luma = frame.luma()
        assert luma is not None
        np.testing.assert_array_equal(frame.rgb, first[:, ::-1])
        place = luma.turn @ np.array([0.0, 0.0]) + luma.shift
        np.testing.assert_allclose(place, [frame.width - 1, 0])


def test_another_size_is_told(tmp_path: Path) -> None:
    paths = iter([clips.make(tmp_path / "a.mp4"), clips.make(tmp_path / "b.mp4", size=(128, 96))])
    with LiveReader("camera", opener=lambda: av.open(str(next(paths))), pause_s=lambda n: 0.2) as reader:
        events, frame, small = [], None, -1
        while frame is None or frame.width == 64:
            small = small if frame is None else frame.index
            frame = reader.read(1.0)
            events += reader.events_before(frame)
    assert [event.kind for event in events] == ["lost", "back", "size"]
    assert events[-1].about == "128x96 after 64x48"
    assert small < events[-1].index <= frame.index  # later where a busy machine dropped the first large ones

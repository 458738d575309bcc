"""Waiting: Ctrl-C and SIGTERM end every wait for another program within a second, and what was written is complete."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import clips

from mixsynth_stream.pipeline.sources.media.waiting import interruptible

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc whether the job has begun")
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 9999999\r\n\r\n"
LIMIT_S = 5.0  # of a busy machine; it takes a tenth of a second


@contextmanager
def silent_server(answer: bytes | None) -> Iterator[int]:
    """The port of a server that sends `answer` to everybody, or nothing at all, and then waits."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        connections = []

        def serve() -> None:
            while True:
                try:
                    connections.append(server.accept()[0])
                except OSError:
                    return
                if answer is not None:
                    connections[-1].sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def has_lines(path: Path) -> bool:
    return path.exists() and path.read_bytes().count(b"\n") > 20


def waits(process: subprocess.Popen[str]) -> bool:
    """Whether the process handles SIGTERM itself: the job has begun."""
    mask = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


def end(
    source: str,
    folder: Path,
    *options: str,
    number: int = signal.SIGTERM,
    stdin: int | None = None,
    has_frames: bool = False,
) -> int:
    """Signal a run that waits. It ends in time, interrupted and clean; gives how many frames it has written.

    With `has_frames` it waits for more of them, else for the first byte.
    """
    out = folder / "out"
    part = out / "poses.jsonl.part"
    command = [sys.executable, "-m", "mixsynth_stream", "run", source, "--out", str(out), "--quiet", *options]
    with subprocess.Popen(command, stdin=stdin, stderr=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None and not (waits(process) and (not has_frames or has_lines(part))):
                time.sleep(0.02)
            time.sleep(0.5)  # until it waits; a signal that comes too early ends it all the same
            process.send_signal(number)
            _, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    sentences = [line for line in errors.splitlines() if line.startswith("mixsynth-stream: ")]
    assert sentences == ["mixsynth-stream: interrupted; what was written so far is complete"]
    assert "Traceback" not in errors
    assert not list(out.rglob("*.part"))
    poses = out / "poses.jsonl"
    frames = [json.loads(line) for line in poses.read_text().splitlines()] if poses.exists() else []
    return len([frame for frame in frames if "index" in frame])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The first part of an MP4 from which frames can be read."""
    path = clips.make(tmp_path_factory.mktemp("start") / "a.mp4", frames=120, size=(320, 240))
    return path.read_bytes()[: path.stat().st_size * 3 // 4]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_silent_pipe(tmp_path: Path, start: bytes, number: int) -> None:
    reading, writing = os.pipe()
    try:
        assert end("-", tmp_path, stdin=reading, number=number) == 0
        assert end("-", tmp_path, "--spool", stdin=reading, number=number) == 0
        os.write(writing, start)
        assert end("/dev/stdin", tmp_path, stdin=reading, number=number, has_frames=True) > 20
    finally:
        os.close(reading)
        os.close(writing)


def test_a_fifo_into_which_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.fifo")
    assert end(str(tmp_path / "a.fifo"), tmp_path) == 0


@pytest.mark.parametrize("scheme", ["http", "tcp", "rtsp"])
def test_a_server_that_accepts_and_says_nothing(tmp_path: Path, scheme: str) -> None:
    with silent_server(None) as port:
        assert end(f"{scheme}://127.0.0.1:{port}/a.mp4", tmp_path) == 0


def test_a_server_that_falls_silent(tmp_path: Path, start: bytes) -> None:
    with silent_server(HTTP + start) as port:
        assert end(f"http://127.0.0.1:{port}/a.mp4", tmp_path, has_frames=True) > 20
        assert end(f"http://127.0.0.1:{port}/a.mp4", tmp_path / "copy", "--spool") == 0


def test_results_and_errors_of_the_other_thread_arrive() -> None:
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(interruptible(threading.get_ident)))
    thread.start()
    thread.join()
    assert seen == [thread.ident]  # no signal comes to that thread, so it calls by itself

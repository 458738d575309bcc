"""Metrics, health and poses of a job from the command line: before its sources are open, and while they come and go."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.moving_stream import MovingStream
from support.osc_receiver import OscReceiver

from mixsynth_stream.cli import main
from mixsynth_stream.errors import OutputError
from mixsynth_stream.export.header import Header
from mixsynth_stream.files import ASSETS
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import Outputs
from mixsynth_stream.job.senders import Senders
from mixsynth_stream.pipeline.frame import SourceEvent

pytest.importorskip("websockets", reason="the servers need websockets: make dev")
pytest.importorskip("pythonosc", reason="OSC needs python-osc: make dev")
DEADLINE_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def health(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:  # before the server is there, and after its end
        return 0, {"sources": {}}


def run_until(arguments: list[str], look: Callable[[], bool]) -> int:
    """The exit code of a run that Ctrl-C ends once `look` in another thread is content, or gives up."""

    is_over = threading.Event()

    def watch() -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not is_over.is_set() and not look() and time.monotonic() < end_s:
            time.sleep(0.05)
        if not is_over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return main(["run", "--quiet", *arguments])
    finally:
        is_over.set()
        watcher.join()


def test_health_tells_why_a_camera_that_is_waited_for_is_not_open(capfd: pytest.CaptureFixture[str]) -> None:
    camera, port = f"tcp://127.0.0.1:{free_port()}", free_port()
    answers: list[tuple[int, dict[str, Any]]] = []

    def look() -> bool:
        answers.append(health(port))
        return "refused" in answers[-1][1].get("reason", "")

    assert run_until([camera, "--wait", "--metrics", str(port)], look) == 130
    reason = f"the source is not open yet ({camera} cannot be opened (Connection refused): check the address"
    assert answers[-1][0] == 503
    assert answers[-1][1]["reason"].startswith(reason)
    assert f"metrics: http://127.0.0.1:{port}/metrics" in capfd.readouterr().err


def test_a_camera_that_gives_nothing_for_a_while_ends_no_sender() -> None:
    stream: Any = MovingStream()
    sends = ("ws://0", "vmc://127.0.0.1:9")
    with Senders(["camera"], JobOptions(send=sends, metrics_at="0")) as senders:
        sinks = senders.sinks(0, stream, Header())
        assert len(sinks) == 3
        with Outputs(sinks, None, Interrupt()) as outputs:
            outputs.wait()
            outputs.tell(SourceEvent("lost", 1.0, 1, "no picture"))
            outputs.write(stream.motion(0, 0.0))
        assert not outputs.has_closed_view


def test_a_source_whose_results_fail_ends_once_and_with_that_reason() -> None:
    from websockets.sync.client import connect

    port, pose_port = free_port(), free_port()
    with Senders(["a", "b"], JobOptions(send=(f"ws://{pose_port}",), metrics_at=str(port))) as senders:
        senders.end(0, OutputError("the disk is full"))
        senders.end(0, None)
        senders.end(1, None)
        assert health(port)[1]["sources"] == {"a": "the disk is full", "b": "the source has ended"}
        with connect(f"ws://127.0.0.1:{pose_port}/poses") as poses:
            ends = [json.loads(poses.recv(timeout=5)) for _ in range(2)]
    assert [(end["source"], end["about"]) for end in ends] == [("a", "the disk is full"), ("b", None)]


def test_one_server_answers_for_several_sources_that_wait_end_and_cannot_be_opened(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from websockets.sync.client import connect

    with wave.open(str(tmp_path / "song.wav"), "wb") as song:
        song.setparams((1, 2, 8000, 0, "NONE", ""))
        song.writeframes(bytes(1600))
    demo, camera = str(ASSETS / "demo.mp4"), f"tcp://127.0.0.1:{free_port()}"
    port, pose_port = free_port(), free_port()
    reports: list[dict[str, str]] = []
    messages: list[dict[str, Any]] = []

    def look() -> bool:
        status, report = health(port)
        if status and not messages:
            with connect(f"ws://127.0.0.1:{pose_port}/poses?poses=now", max_size=None) as poses:
                while sum(message["type"] == "end" for message in messages) < 3:
                    messages.append(json.loads(poses.recv(timeout=DEADLINE_S)))
        reports.append(report["sources"])
        return list(report["sources"].values()).count("the source has ended") == 2

    options = ["--live", "--wait", "--limit-frames", "6", "--out", str(tmp_path / "out")]
    with OscReceiver() as avatar:
        sends = ["--send", f"ws://{pose_port}", "--send", f"vmc://127.0.0.1:{avatar.port}"]
        sources = [demo, demo, camera, str(tmp_path / "song.wav")]
        assert run_until([*sources, *options, *sends, "--metrics", str(port)], look) == 130
    lines = [json.loads(line) for line in (tmp_path / "out" / "demo" / "poses.jsonl").read_text().splitlines()]
    assert len(avatar.bundles) == sum("people" in line for line in lines), "it gets the first source only"
    assert f"vmc://127.0.0.1:{avatar.port} gets the first of 4 sources" in capfd.readouterr().err
    last = reports[-1]
    assert list(last) == ["demo.mp4", "demo.mp4 (2)", camera, "song.wav"]
    assert "Connection refused" in last[camera]
    assert "song.wav sends no video" in last["song.wav"]
    for name in ("demo.mp4", "demo.mp4 (2)"):
        own = [message for message in messages if message["source"] == name]
        assert own[0]["type"] == "header" and own[-1] == {"type": "end", "source": name, "about": None}
        assert {message["type"] for message in own[1:-1]} == {"frame"}
    assert [message["type"] for message in messages if message["source"] == "song.wav"] == ["end"]

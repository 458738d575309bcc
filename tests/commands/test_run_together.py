"""`run` with several live sources: at the same time, a folder each, and none holds up another."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.network import network_to
from support.rtsp_server import needs_rtsp_server, rtsp_server

from mixsynth_stream.cli import main
from mixsynth_stream.files import ASSETS
from mixsynth_stream.job import outputs, together
from mixsynth_stream.job.kinds import live_sources
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.viewer.web.feed import Feed
from mixsynth_stream.viewer.web.messages import DrawRequest

DEMO = str(ASSETS / "demo.mp4")
DEADLINE_S = 30.0


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "poses.jsonl").read_text().splitlines()]


def frames_of(folder: Path) -> list[int]:
    return [line["index"] for line in lines_of(folder) if line.get("final")]


def test_files_played_as_live_run_at_the_same_time_and_one_that_fails_is_counted(tmp_path, capsys):
    out = tmp_path / "out"
    sources = [DEMO, str(tmp_path / "none.mp4"), DEMO]
    assert main(["run", *sources, "--live", "--limit-frames", "9", "--out", str(out), "--format", "jsonl,csv"]) == 3
    errors = capsys.readouterr().err
    assert f"{sources[1]} cannot be opened" in errors and "1 of 3 sources failed" in errors
    assert errors.count("results in") == 2
    for folder in (out / "demo", out / "demo-2"):
        indices = frames_of(folder)  # a slow machine drops some
        assert indices[0] == 0 and indices == sorted(set(indices)) and indices[-1] < 9
        assert (folder / "poses.csv").stat().st_size
        assert not list(folder.glob("*.part")) and not list(folder.glob(".*.lock"))


def test_live_sources_at_the_same_time_need_a_folder(capsys):
    assert main(["run", DEMO, DEMO, "--live"]) == 2
    assert "2 live sources at the same time write into a folder each: give --out DIR" in capsys.readouterr().err


def test_which_sources_are_live(tmp_path):
    files = [DEMO, "-", "synthetic:walk", "poses.npz", "shots/*.png"]
    assert live_sources(["rtsp://a/b", "webcam", "udp://:1", *files], JobOptions()) == [True] * 3 + [False] * 5
    assert live_sources(files, JobOptions(live=True)) == [True] + [False] * 4


def test_where_all_sources_fail_none_is_called_complete(tmp_path, capsys):
    sources = [str(tmp_path / f"{name}.mp4") for name in ("a", "b")]
    assert main(["run", *sources, "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.endswith("mixsynth-stream: 2 of 2 sources failed\n")


def test_web_addresses_are_asked_and_one_that_cannot_be_reached_is_tried_as_live():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert live_sources([f"http://127.0.0.1:{port}/a", DEMO], JobOptions()) == [True, False]


@needs_rtsp_server
def test_cameras_that_hang_and_refuse_hold_up_no_other_and_ctrl_c_completes_every_file(tmp_path):
    out = tmp_path / "out"
    with rtsp_server("h264") as (_, address), network_to(int(address.split(":")[2].split("/")[0])) as network:
        with socket.create_server(("127.0.0.1", 0)) as server:
            refusing = f"rtsp://127.0.0.1:{server.getsockname()[1]}/away"
        behind = f"rtsp://127.0.0.1:{network.port}/camera"
        command = [sys.executable, "-m", "mixsynth_stream", "run", address, behind, refusing, "--out", str(out)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                end_s = time.monotonic() + DEADLINE_S
                counts = [0, 0]
                while min(counts) < 10:
                    assert time.monotonic() < end_s and process.poll() is None, counts
                    counts = [_lines_so_far(out / name) for name in ("camera", "camera-2")]
                    time.sleep(0.05)
                network.flows.clear()
                goal = counts[0] + 30
                while _lines_so_far(out / "camera") < goal:
                    assert time.monotonic() < end_s and process.poll() is None
                    time.sleep(0.05)
                process.send_signal(signal.SIGINT)
                errors = process.communicate(timeout=DEADLINE_S)[1]
            finally:
                process.kill()
    assert process.returncode == 130, errors
    assert "away cannot be opened" in errors and errors.count("results in") == 2, errors
    for name in ("camera", "camera-2"):
        indices = frames_of(out / name)
        assert indices == sorted(set(indices)) and len(indices) >= 10
        assert not list((out / name).glob("*.part"))


def _lines_so_far(folder: Path) -> int:
    path = folder / "poses.jsonl.part"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_page_is_there_before_its_sources_and_shows_each(tmp_path, capsys, monkeypatch):
    pytest.importorskip("websockets")
    pages = []

    def open_page(*arguments: Any) -> Any:
        pages.append(outputs.open_page(*arguments))
        return pages[0]

    monkeypatch.setattr(together, "open_page", open_page)
    out = str(tmp_path / "out")
    # The third is not there, so the page tells why.
    sources = [DEMO, DEMO, str(tmp_path / "none.mp4")]
    assert main(["run", *sources, "--live", "--limit-frames", "4", "--out", out, "--view", "web"]) != 0
    assert capsys.readouterr().err.count("view: http://") == 1
    states = [_state(feed) for feed in pages[0].feeds]
    assert [state["state"] for state in states] == ["ended"] * 3
    assert ["index" in state for state in states] == [True, True, False]
    assert "none.mp4" in states[2]["why"]


def test_a_page_ends_all_sources_and_their_files_are_complete(tmp_path, monkeypatch):
    pytest.importorskip("websockets")

    def open_page(*arguments: Any) -> Any:
        page = outputs.open_page(*arguments)
        write = page.feeds[1].write

        def closing_write(motion: Motion) -> None:
            write(motion)
            page.closing.set()

        page.feeds[1].write = closing_write
        return page

    monkeypatch.setattr(together, "open_page", open_page)
    out = tmp_path / "out"
    assert main(["run", DEMO, DEMO, "--live", "--out", str(out), "--view", "web"]) == 0
    for name in ("demo", "demo-2"):
        assert not list((out / name).glob("*.part"))
    assert 1 <= len(frames_of(out / "demo-2")) < 170


def _state(feed: Feed) -> dict[str, Any]:
    answer = feed.answer(DrawRequest())
    return json.loads(answer[4 : 4 + int.from_bytes(answer[:4], "little")])

"""`--view` and `--view-at`: which view comes by itself, and what a user is told when there can be none."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import urllib.request

import pytest

from mixsynth_stream.cli import main
from mixsynth_stream.commands import webcam
from mixsynth_stream.files import ASSETS
from mixsynth_stream.viewer import window
from mixsynth_stream.viewer.web import server

SHORT = ("run", "synthetic:seconds=1", "--quiet")


@pytest.mark.parametrize(
    ("display", "library", "address", "view"),
    [
        (True, True, False, "window"),
        (False, True, False, "web"),
        (False, False, False, "none"),
        (True, True, True, "web"),
        (False, False, True, "web"),
    ],
)
def test_the_view_of_a_camera(
    display: bool, library: bool, address: bool, view: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(window, "window_possible", lambda: display)
    monkeypatch.setattr(server, "server_possible", lambda: library)
    assert webcam._default_view(address) == view
    assert ("[view]" in capsys.readouterr().err) == (view == "none")


def refusal(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """What is said on standard error, with that exit code."""
    try:
        given = main([*SHORT, *arguments])
    except SystemExit as end:  # of argparse
        given = end.code
    assert given == code
    return capsys.readouterr().err


def test_an_address_without_the_page_is_refused(capsys) -> None:
    assert "--view-at is for --view web" in refusal(capsys, 2, "--view-at", "8000")


def test_an_address_that_is_none_is_refused(capsys) -> None:
    assert "expected PORT, HOST or HOST:PORT" in refusal(capsys, 2, "--view", "web", "--view-at", "http://localhost")


def test_a_port_in_use_is_told(capsys) -> None:
    pytest.importorskip("websockets")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port}, which is in use" in refusal(capsys, 1, "--view", "web", "--view-at", port)


def test_without_the_library_its_name_is_told(capsys, monkeypatch) -> None:
    monkeypatch.setattr(server, "server_possible", lambda: False)
    assert "pip install 'mixsynth-stream[view]'" in refusal(capsys, 4, "--view", "web")


def test_the_page_of_a_run_is_there_while_it_lasts() -> None:
    pytest.importorskip("websockets")
    command = [sys.executable, "-m", "mixsynth_stream", "run", str(ASSETS / "demo.mp4"), "--view", "web"]
    with subprocess.Popen(
        [*command, "--view-at", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            url = next(match[1] for line in process.stderr if (match := re.search(r"view: (http://127\S+)", line)))
            with urllib.request.urlopen(url, timeout=5) as page:
                assert b"<title>mixsynth-stream</title>" in page.read()
            process.send_signal(2)
            assert process.wait(10) == 130
        finally:
            process.kill()

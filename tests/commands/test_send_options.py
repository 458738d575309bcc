"""`--send` and `--metrics`, and JSON lines on a terminal: what a user is told, and the exit code."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mixsynth_stream.cli import main
from mixsynth_stream.files import ASSETS
from mixsynth_stream.send import osc
from mixsynth_stream.viewer.web import server

SHORT = ("run", "synthetic:seconds=1", "--quiet")


def refusal(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """The sentence on standard error, with that exit code."""
    try:
        result = main([*SHORT, *arguments])
    except SystemExit as end:  # of argparse
        result = end.code
    assert result == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    "address",
    [
        "vmc://",
        "vmc:127.0.0.1",
        "http://localhost",
        "ws://localhost",
        "vrchat://host:70000",
        "vmc://a/b",
        "vmc://a:0",
        "x",
    ],
)
def test_an_address_that_is_none_is_refused(address: str, capsys) -> None:
    text = refusal(capsys, 2, "--send", address)
    assert "expected ws://[HOST:]PORT, vmc://HOST[:PORT] or vrchat://HOST[:PORT]" in text
    assert repr(address) in text


def test_a_password_in_an_address_stays_hidden(capsys) -> None:
    assert "secret" not in refusal(capsys, 2, "--send", "vmc://me:secret@host")


def test_a_host_that_nobody_knows_is_told(capsys) -> None:
    text = refusal(capsys, 1, "--send", "vmc://no-such-host.invalid")
    assert "nothing can be sent to vmc://no-such-host.invalid:39539, because its host is not known" in text


@pytest.mark.parametrize(("option", "prefix"), [("--send", "ws://"), ("--metrics", "")])
def test_a_port_in_use_is_told(option: str, prefix: str, capsys) -> None:
    pytest.importorskip("websockets")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        text = refusal(capsys, 1, option, prefix + port)
    assert f"cannot be served at port {port}, which is in use: give another one ({option} {prefix}PORT)" in text


def test_without_a_library_its_extra_is_told(capsys, monkeypatch) -> None:
    monkeypatch.setattr(server, "server_possible", lambda: False)
    monkeypatch.setattr(osc, "osc_possible", lambda: False)
    for address, extra in (("ws://0", "view"), ("vmc://127.0.0.1", "osc"), ("vrchat://127.0.0.1", "osc")):
        assert f"pip install 'mixsynth-stream[{extra}]'" in refusal(capsys, 4, "--send", address)


def test_two_commands_in_one_second_find_their_port_free(capsys) -> None:
    pytest.importorskip("websockets")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
    for _ in range(2):
        assert main([*SHORT, "--send", f"ws://{port}"]) == 0
        assert f"poses: ws://127.0.0.1:{port}/poses" in capsys.readouterr().err


def test_metrics_and_health_are_there_while_a_run_lasts() -> None:
    pytest.importorskip("websockets")
    command = [sys.executable, "-m", "mixsynth_stream", "run", str(ASSETS / "demo.mp4"), "--live", "--metrics", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None and process.stdout is not None
            url = next(match[1] for line in process.stderr if (match := re.search(r"metrics: (http://127\S+)", line)))
            for _ in range(10):  # the header and some frames
                process.stdout.readline()
            with urllib.request.urlopen(url, timeout=5) as answer:
                frames = re.search(r'^mixsynth_frames_total\{source="demo.mp4"\} (\d+)$', answer.read().decode(), re.M)
            assert frames is not None and int(frames[1]) > 0
            with urllib.request.urlopen(url.replace("/metrics", "/health"), timeout=5) as answer:
                assert json.load(answer) == {"status": "ok", "sources": {"demo.mp4": "ok"}}
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are for POSIX")
@pytest.mark.parametrize(("options", "is_shown"), [((), False), (("--format", "jsonl"), True)])
def test_a_terminal_gets_no_json_unless_it_is_asked_for(options: tuple[str, ...], is_shown: bool) -> None:
    import pty

    main_end, terminal = pty.openpty()
    command = [sys.executable, "-m", "mixsynth_stream", *SHORT, "--limit-frames", "2", *options]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.PIPE, text=True) as process:
        if is_shown:
            assert os.read(main_end, 9) == b'{"format"'
            process.kill()  # a terminal that nobody reads takes no more
        _, errors = process.communicate(timeout=60)
    os.write(terminal, b"end")
    shown = os.read(main_end, 1 << 16)
    os.close(main_end)
    os.close(terminal)
    assert is_shown or (process.returncode, shown) == (0, b"end")
    assert ("standard output is a terminal: give --out DIR" in errors) != is_shown


def test_a_pipe_gets_json_beside_what_is_sent(capsys) -> None:
    pytest.importorskip("pythonosc")
    assert main([*SHORT, "--limit-frames", "2", "--send", "vmc://127.0.0.1:9"]) == 0
    assert [json.loads(line).get("index") for line in capsys.readouterr().out.splitlines()] == [None, 0, 1]


def test_a_folder_gets_its_files_beside_what_is_sent(tmp_path: Path) -> None:
    pytest.importorskip("pythonosc")
    assert main([*SHORT, "--out", str(tmp_path), "--send", "vrchat://127.0.0.1:9"]) == 0
    assert (tmp_path / "poses.jsonl").is_file()

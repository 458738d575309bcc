"""`info`: the tables of what this machine has."""

from __future__ import annotations

import re

import pytest

from mixsynth_stream.cli import main
from mixsynth_stream.pipeline.sources.live import cameras


def test_info_shows_the_table_and_the_speed_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"jhmdb +\d+ µs +\d+\.\dx +\d+\.\dx \(.+\) +\d+%", output)
    assert re.search(r"here: image-n\d+ takes \d+ µs a window in registers of (128|256|512) bits", output)


def test_info_lists_cameras_with_what_they_offer(monkeypatch, capsys) -> None:
    monkeypatch.setattr(cameras, "cameras", lambda: [cameras.Camera(0, "USB Cam", "/dev/video0")])
    monkeypatch.setattr(cameras, "modes", lambda camera: ["yuyv422: 640x480", "mjpeg: 1280x720"])
    assert main(["info", "--cameras"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"0 +USB Cam +/dev/video0\n +yuyv422: 640x480\n +mjpeg: 1280x720\n$", output)
    assert "weights" not in output

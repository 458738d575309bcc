"""A real RTSP server, GStreamer's, in a process of Debian's Python; and how old its pictures are."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support.stamped_camera import BITS, SIDE

SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAM = Path(__file__).with_name("stamped_camera.py")
_X264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=2000"
_H264 = "rtph264pay name=pay0 pt=96 config-interval=1"
ENCODERS = {
    "h264": f"{_X264} threads=1 ! video/x-h264,profile=baseline ! {_H264}",
    "h264 in slices": f"{_X264} sliced-threads=true threads=4 ! {_H264}",
    "h264 in many slices": f"{_X264} threads=1 option-string=slice-max-size=1200 ! {_H264}",
    "hevc": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=1000 ! rtph265pay name=pay0 pt=96",
    "mjpeg": "jpegenc quality=80 ! rtpjpegpay name=pay0 pt=26",
}


@cache
def missing() -> str:
    """Why there is no such server here, in one line; empty where there is one."""
    code = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
        "Gst.init(None); assert all(Gst.ElementFactory.find(n) for n in ('x264enc', 'x265enc', 'jpegenc'))"
    )
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", code], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-{ugly,bad}"
    return ""


needs_rtsp_server = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


@contextmanager
def rtsp_server(encoder: str, *, port: int = 0, user: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and its address. `user` is "name:password"."""
    command = [SYSTEM_PYTHON, str(PROGRAM), ENCODERS[encoder], str(port), user]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, f"rtsp://127.0.0.1:{int(process.stdout.readline())}/camera"
        finally:
            process.kill()


def age_s(luma: np.ndarray, now_s: float) -> float:  # luma: [H, W]
    """How old a picture is at a time of `time.monotonic`, by the clock that is drawn into it."""
    blocks = luma[4 : SIDE - 4, : BITS * SIDE].reshape(SIDE - 8, BITS, SIDE)[:, :, 4:-4].mean(axis=(0, 2))
    taken_us = sum(1 << bit for bit, level in enumerate(blocks) if level > 125)
    return ((int(1e6 * now_s) - taken_us) % (1 << BITS)) / 1e6

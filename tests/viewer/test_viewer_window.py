"""Pictures of the viewer's window."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from support.moving_stream import MovingStream

from mixsynth_stream.viewer.window import Window, ppm, subsample


def test_pictures_for_the_window_fit_and_keep_their_pixels():
    rgb = np.arange(900 * 1600 * 3, dtype=np.uint32).astype(np.uint8).reshape(900, 1600, 3)
    picture = subsample(rgb, 1280, 720)
    assert picture.shape[0] <= 720
    assert picture.shape[1] <= 1280
    header, _, data = ppm(picture).partition(b"\n")
    assert header == b"P6 800 450 255"
    assert np.array_equal(np.frombuffer(data, np.uint8).reshape(450, 800, 3), rgb[::2, ::2])


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A screen that nobody sees."""
    pytest.importorskip("tkinter", reason="a window needs tkinter: apt-get install python3-tk")
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        pytest.skip("a window is tested on the screen of Xvfb, which is not installed: apt-get install xvfb")
    read_end, write_end = os.pipe()
    command = [xvfb, "-displayfd", str(write_end), "-screen", "0", "1280x900x24"]
    with subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL) as process:
        try:
            os.close(write_end)
            with os.fdopen(read_end) as number:
                monkeypatch.setenv("DISPLAY", f":{number.readline().strip()}")
            yield
        finally:
            process.terminate()


def test_a_window_whose_camera_is_silent_says_so_and_takes_keys(display: None) -> None:
    stream = MovingStream()
    with Window() as window:
        root = window._tk
        window.write(stream.motion(0, 0.0))
        assert root.title() == "mixsynth-stream - q or Esc ends"
        window.wait()
        assert root.title().endswith("camera lost, trying again")
        window.write(stream.motion(1, 0.1))
        assert root.title() == "mixsynth-stream - q or Esc ends"
        root.focus_force()
        window.wait()
        root.event_generate("<KeyPress-q>")
        window.wait()
        assert window.closed

"""Cameras: by number, name or path, with what they offer, as FFmpeg on each system calls them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.live import cameras as room
from mixsynth_stream.pipeline.sources.live.cameras import Camera, Device, camera_device, cameras, modes_in
from mixsynth_stream.pipeline.sources.live.request import LiveRequest

PLAIN, FULL = LiveRequest(), LiveRequest(size=(1280, 720), rate_hz=30)
OPTIONS = {"video_size": "1280x720", "framerate": "30"}


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two cameras, one of which has a second device for data."""
    rows = [("video0", "Integrated Camera", "0"), ("video1", "Integrated Camera", "1"), ("video10", "USB Cam", "0")]
    for device, name, index in rows:
        (tmp_path / device).mkdir()
        (tmp_path / device / "name").write_text(name + "\n")
        (tmp_path / device / "index").write_text(index + "\n")
    monkeypatch.setattr(room, "_NAMES", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.parametrize(
    ("camera", "path"),
    [
        ("0", "/dev/video0"),
        ("7", "/dev/video7"),  # FFmpeg says that it is not there
        ("Integrated Camera", "/dev/video0"),
        ("usb", "/dev/video10"),
        ("/dev/v4l/by-id/usb-cam", "/dev/v4l/by-id/usb-cam"),
    ],
)
def test_cameras_of_linux(linux: None, camera: str, path: str) -> None:
    assert camera_device(camera, PLAIN) == Device(path, "v4l2")
    assert camera_device(camera, FULL) == Device(path, "v4l2", OPTIONS)


def test_devices_without_pictures_are_not_listed(linux: None) -> None:
    assert cameras() == [Camera(0, "Integrated Camera", "/dev/video0"), Camera(10, "USB Cam", "/dev/video10")]


def test_names_that_fit_none_or_several(linux: None) -> None:
    with pytest.raises(SourceError, match=r"no camera Logitech; found 0 \(Integrated Camera\), 10 \(USB Cam\)"):
        camera_device("Logitech", PLAIN)
    with pytest.raises(SourceError, match=r"several cameras are called cam: give one by its number, 0 .*, 10"):
        camera_device("cam", PLAIN)


def test_cameras_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    listed = [Camera(0, "HD Webcam", "HD Webcam"), Camera(1, "OBS Virtual Camera", "OBS Virtual Camera")]
    monkeypatch.setattr(room, "cameras", lambda: listed)
    assert camera_device("1", FULL) == Device("video=OBS Virtual Camera", "dshow", OPTIONS)
    assert camera_device("hd", PLAIN) == Device("video=HD Webcam", "dshow")
    with pytest.raises(SourceError, match="no camera 2; found 0 .*: choose one"):
        camera_device("2", PLAIN)


def test_cameras_of_apple_have_a_rate_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert camera_device("0", PLAIN) == Device("0:none", "avfoundation", {"framerate": "30"})
    assert camera_device("FaceTime", LiveRequest(rate_hz=60)).options == {"framerate": "60"}


def test_modes_are_read_from_what_ffmpeg_prints() -> None:
    v4l2 = [
        *("Raw       :     yuyv422 :           YUYV 4:2:2 :", " 640x480", " 1280x720", "\n"),
        *("Compressed:       mjpeg :          Motion-JPEG :", " 640x480", " 1920x1080", "\n"),
    ]
    assert modes_in(v4l2) == ["yuyv422: 640x480 1280x720", "mjpeg: 640x480 1920x1080"]
    dshow = [
        "  pixel_format=yuyv422",
        "  min s=640x480 fps=5 max s=640x480 fps=30\n",
        "  vcodec=mjpeg  min s=1280x720 fps=30 max s=1280x720 fps=30\n",
        "  vcodec=mjpeg  min s=1280x720 fps=30 max s=1280x720 fps=30\n",
        "Pin 'Capture'\n",
    ]
    assert modes_in(dshow) == ["yuyv422: 640x480 at 5 to 30 Hz", "mjpeg: 1280x720 at 30 Hz"]
    apple = ["Supported modes:\n", "  1280x720@[15.000000 30.000000]fps\n", "  640x480@[30.000000 30.000000]fps\n"]
    assert modes_in(apple) == ["1280x720 at 15 to 30 Hz", "640x480 at 30 Hz"]


@pytest.mark.parametrize(
    "options", [{"size": (0, 480)}, {"rate_hz": 0.0}, {"rate_hz": float("inf")}, {"timeout_s": 0.0}]
)
def test_requests_that_mean_nothing(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LiveRequest(**options)  # type: ignore[arg-type]

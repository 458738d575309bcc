"""Cameras: those of this machine, what they offer, and how FFmpeg calls them (v4l2, avfoundation, dshow)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.device import enumerate_input_devices

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.live.request import LiveRequest

_DEVICES, _NAMES = Path("/dev"), Path("/sys/class/video4linux")
# Apple's own cameras refuse FFmpeg's default of 29.97 Hz.
_APPLE_RATE_HZ = 30
# FFmpeg prints of video4linux "Raw : yuyv422 : YUYV 4:2:2 : 640x480 320x240", of Apple "640x480@[15.0 30.0]fps", and of
# DirectShow "pixel_format=yuyv422  min s=640x480 fps=5 max s=640x480 fps=30".
_FORMAT = re.compile(r"(?:Raw|Compressed)\s*:\s+(\S+) :\s+.*? :(.*)")
_APPLE = re.compile(r"(\d+x\d+)@\[([\d.]+) ([\d.]+)\]fps")
_MIN_MAX = re.compile(r"min s=(\d+x\d+) fps=([\d.]+) max s=(\d+x\d+) fps=([\d.]+)")


@dataclass(frozen=True)
class Device:
    """A camera as FFmpeg opens it."""

    name: str
    driver: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Camera:
    """A camera of this machine. `number` is what "webcam:N" takes, and so are `name` and `path`."""

    number: int
    name: str
    path: str  # what FFmpeg opens


def is_camera(source: str) -> bool:
    """Whether a source is a camera: "webcam", or "webcam:" and a number, a name or a path."""
    return source.partition(":")[0] == "webcam"


def camera_device(camera: str, request: LiveRequest) -> Device:
    """How FFmpeg opens a camera by its number, name or path. SourceError where none has that name."""
    options = {}
    if request.size is not None:
        options["video_size"] = "{}x{}".format(*request.size)
    if request.rate_hz is not None:
        options["framerate"] = f"{request.rate_hz:g}"
    if sys.platform == "darwin":
        options.setdefault("framerate", f"{_APPLE_RATE_HZ}")
        return Device(f"{camera}:none", "avfoundation", options)
    if sys.platform == "win32":
        path = camera if camera.startswith("@device") else _chosen(camera, cameras()).path
        return Device(f"video={path}", "dshow", options)
    if camera.isdigit():
        return Device(f"{_DEVICES}/video{camera}", "v4l2", options)
    path = camera if camera.startswith("/") else _chosen(camera, cameras()).path
    return Device(path, "v4l2", options)


def cameras() -> list[Camera]:
    """The cameras of this machine, as far as the system lists them."""
    if sys.platform.startswith("linux"):
        return _linux_cameras()
    driver = "avfoundation" if sys.platform == "darwin" else "dshow"
    devices = [device for device in enumerate_input_devices(driver) if "video" in (device.media_types or ["video"])]
    is_apple = driver == "avfoundation"
    return [
        Camera(number, device.description, device.name if is_apple else device.description)
        for number, device in enumerate(devices)
    ]


def modes(camera: Camera) -> list[str]:
    """The pixel formats, sizes and rates of a camera, a line each, as far as FFmpeg tells them."""
    linux = sys.platform.startswith("linux")
    if linux:
        device, query = Device(camera.path, "v4l2"), {"list_formats": "all"}
    elif sys.platform == "win32":
        device, query = Device(f"video={camera.path}", "dshow"), {"list_options": "true"}
    else:
        device, query = Device(f"{camera.number}:none", "avfoundation"), {"framerate": "1000"}  # that none offers
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.INFO)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as lines:
            try:
                av.open(device.name, format=device.driver, options=query, timeout=(5.0, 5.0)).close()
            except av.error.FFmpegError as error:
                if not lines:
                    return [f"cannot be asked ({error.strerror}): check that no other program uses it"]
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
    return modes_in(text for _, _, text in lines)


def modes_in(messages: Iterable[str]) -> list[str]:
    """The modes that FFmpeg's messages about a camera list, without repeats. A line may come in several messages."""
    modes_of_lines = (_mode_of(line.strip()) for line in "".join(messages).splitlines())
    return list(dict.fromkeys(mode for mode in modes_of_lines if mode))


def _mode_of(text: str) -> str:
    """A mode in our words; empty where a line of FFmpeg holds none."""
    video4linux = _FORMAT.fullmatch(text)
    if video4linux:
        return f"{video4linux[1]}: {video4linux[2].strip()}"
    limits = _MIN_MAX.search(text)
    if limits:
        kind = text[: limits.start()].strip().rpartition("=")[2]
        small, slow, large, fast = limits.groups()
        size = small if small == large else f"{small} to {large}"
        rate = fast if slow == fast else f"{slow} to {fast}"
        return f"{kind + ': ' if kind else ''}{size} at {rate} Hz"
    apple = _APPLE.fullmatch(text)
    if apple:
        size, slow, fast = apple[1], float(apple[2]), float(apple[3])
        return f"{size} at {slow:g}{'' if slow == fast else f' to {fast:g}'} Hz"
    return ""


def _linux_cameras() -> list[Camera]:
    """Devices that give pictures. A camera often has more devices, which give only data about it."""
    rows = []
    for device in sorted(_NAMES.glob("video*"), key=lambda path: int(path.name[5:] or 0)):
        if not device.name[5:].isdigit() or _text(device / "index") not in ("", "0"):
            continue
        rows.append(Camera(int(device.name[5:]), _text(device / "name"), f"{_DEVICES}/{device.name}"))
    return rows


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""


def _chosen(camera: str, listed: list[Camera]) -> Camera:
    """The camera with a number or a name: as it stands, or the only one whose name holds these letters."""
    if camera.isdigit():
        matching = [one for one in listed if one.number == int(camera)]
    else:
        matching = [one for one in listed if one.name == camera]
        matching = matching or [one for one in listed if camera.casefold() in one.name.casefold()]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(f"{one.number} ({one.name})" for one in matching or listed)
    if matching:
        raise SourceError(f"several cameras are called {camera}: give one by its number, {names}")
    raise SourceError(f"there is no camera {camera}; found {names or 'none'}: {'choose' if names else 'connect'} one")

"""Small video files, made when a test needs one: whole ones and broken ones, and one of a real person."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# A real person; data/README.md says who filmed it.
PERSON = Path(__file__).parent / "data" / "person.mp4"
# TrueHD sound, for which PyAV has no encoder.
TRUEHD = PERSON.with_name("truehd.mkv")
# What every clip stores: the corners' colours, clockwise from the top left.
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (235, 235, 235)
CORNERS = (RED, GREEN, BLUE, WHITE)

_GOP_OPTIONS = {"g": "12"}
# Display matrices (a, b, c, d): (x, y) is shown at (a x + c y, b x + d y).
MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0), "mirror": (-1, 0, 0, 1)}


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:  # -> [H, W, 3] uint8
    """Four coloured corners, and in the middle a grey block that says which frame this is."""
    rgb = np.empty((height, width, 3), np.uint8)
    right = np.arange(width)[:, None] >= (width + 1) // 2
    rgb[: (height + 1) // 2] = np.where(right, GREEN, RED)
    rgb[(height + 1) // 2 :] = np.where(right, BLUE, WHITE)
    rgb[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 16 + index * 7 % 220
    return rgb


def corners(rgb: np.ndarray) -> tuple[np.ndarray, ...]:  # [H, W, 3] -> four [3], clockwise from the top left
    """The colours a little inside the corners."""
    height, width = rgb.shape[:2]
    y, x = height // 8, width // 8
    return rgb[y, x], rgb[y, -1 - x], rgb[-1 - y, -1 - x], rgb[-1 - y, x]


def make(
    path: Path,
    *,
    frames: int = 30,
    rate: int = 30,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times_ms: Sequence[int] | None = None,
    turn: int | str = 0,
    audio: bool = False,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """A clip in the format that the name's ending asks for. `times_ms` makes the rate variable; `turn` is how far
    clockwise a player turns the stored picture (MP4 only), "mirror" left and right exchanged; `aspect` is how many
    times as wide as high its samples are."""
    width, height = size
    front = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=front) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "12", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = _add_sound(container) if audio else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            frame.pts = index if times_ms is None else times_ms[index]
            frame.time_base = Fraction(1, rate) if times_ms is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            _mux_sound(container, sound, frames / rate)
    if turn:
        _set_display_matrix(path, MATRICES[turn])
    return path


def with_aspects(path: Path, aspects: Sequence[Fraction], *, size: tuple[int, int] = (64, 48)) -> Path:
    """A transport stream in which each frame has the sample aspect of its place."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=30, options=_GOP_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        encoder, last = stream.codec_context, None
        for index, aspect in enumerate(aspects):
            if aspect != last:
                if last is not None:
                    _mux(container, stream, encoder.encode(None))
                encoder = av.CodecContext.create("libx264", "w")
                encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
                encoder.time_base, encoder.framerate, encoder.options = Fraction(1, 30), 30, _GOP_OPTIONS
                encoder.sample_aspect_ratio = last = aspect
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            _mux(container, stream, encoder.encode(frame))
        _mux(container, stream, encoder.encode(None))
    return path


def _mux(container: av.container.OutputContainer, stream: av.VideoStream, packets: list[av.Packet]) -> None:
    for packet in packets:
        packet.stream = stream
        container.mux(packet)


def set_container_aspect(path: Path, across: int, down: int) -> None:
    """Change what an MP4 says of its samples, and leave its codec's word as it is."""
    data = bytearray(path.read_bytes())
    start = data.index(b"pasp") + 4
    data[start : start + 8] = struct.pack(">2I", across, down)
    path.write_bytes(data)


def remuxed(path: Path, source: Path, change: Callable[[int, av.Packet], None], **options: str) -> Path:
    """The packets of a clip in another file. `change` may set times of packet number i; `options` are the muxer's."""
    with av.open(str(source)) as whole, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(packet for packet in whole.demux(video=0) if packet.size):
            change(number, packet)
            packet.stream = stream
            container.mux(packet)
    return path


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        _mux_sound(container, _add_sound(container), 0.5)
    return path


def unknown_codec(path: Path) -> Path:
    """A clip with a codec that does not exist."""
    data = make(path, frames=3).read_bytes()
    path.write_bytes(data.replace(b"avc1", b"zzz9"))
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    path.write_text("This is not a video, whatever its name says.\n" * 50)
    return path


def zero_length(path: Path) -> Path:
    """An MP4 with a video track in which there is not one frame."""
    make(path, frames=2)
    data = path.read_bytes()
    # No entries in the tables of times, sizes, chunks and places.
    for box in (b"stts", b"stsz", b"stsc", b"stco", b"stss", b"ctts"):
        start = data.find(box)
        if start >= 0:
            count = start + (12 if box == b"stsz" else 8)
            data = data[:count] + bytes(4) + data[count + 4 :]
    path.write_bytes(data)
    return path


def corrupted(path: Path, packets: Sequence[int] = (14,), **what: object) -> Path:
    """A clip in which the contents of some packets are noise."""
    make(path, **{"frames": 30, **what})  # type: ignore[arg-type]
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in packets:
        start, size = places[number]
        data[start : start + size] = np.random.default_rng(number).bytes(size)
    path.write_bytes(data)
    return path


def truncated(path: Path, keep: float = 0.6, **what: object) -> Path:
    """A clip that ends in the middle. An MP4 keeps its index, which is at the front."""
    make(path, **{"frames": 60, **what})  # type: ignore[arg-type]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def without_index(path: Path) -> Path:
    """An MP4 whose recorder died before it wrote the index at the end."""
    make(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    return path


def _add_sound(container: av.container.OutputContainer) -> av.AudioStream:
    return container.add_stream("aac", rate=16_000, layout="mono")


def _mux_sound(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for start in range(0, int(seconds * 16_000), 1024):
        wave = np.sin((start + np.arange(1024)) * 0.17).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    a, b, c, d = (value << 16 for value in matrix)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)

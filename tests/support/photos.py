"""Photos with an EXIF block, and videos made of them, as cameras write them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
from support import clips


def jpeg(orientation: int, *, index: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG of `clips.picture` whose EXIF block has the tag Orientation (1 to 8)."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, "yuvj420p"
    encoder.time_base, encoder.options = Fraction(1, 30), {"qmin": "2", "qmax": "2"}
    frame = av.VideoFrame.from_ndarray(clips.picture(index, *size), format="rgb24").reformat(format="yuvj420p")
    frame.pts, frame.time_base = 0, Fraction(1, 30)
    data = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    # Big-endian TIFF with one directory of one entry: tag 0x0112, type 3 (16 bits), one value.
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    block = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def photo_clip(path: Path, orientation: int, *, frames: int = 3, size: tuple[int, int] = (64, 48)) -> Path:
    """Such JPEGs as a motion JPEG video; the name's ending says the container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p"
        stream.time_base = Fraction(1, 30)
        for index in range(frames):
            packet = av.Packet(jpeg(orientation, index=index, size=size))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 30)
            packet.is_keyframe = True
            container.mux(packet)
    return path

"""PNG files, by the encoder of PyAV."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import av
import numpy as np

# What stands in a PNG before the name of the program that made it.
SOFTWARE_KEY = b"tEXtSoftware\0"
_HEAD_BYTES = 33  # the signature, and the chunk that begins every PNG


def png_bytes(rgb: np.ndarray, software: str = "") -> bytes:  # [H, W, 3] uint8
    """A picture as the bytes of a PNG file, which says that `software` made it. ASCII only."""
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = rgb.shape[1], rgb.shape[0], "rgb24"
    encoder.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    png = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode()])
    return png[:_HEAD_BYTES] + (_software_chunk(software) if software else b"") + png[_HEAD_BYTES:]


def _software_chunk(software: str) -> bytes:
    """A chunk of text, which FFmpeg does not write."""
    text = SOFTWARE_KEY + software.encode("ascii")
    return struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))

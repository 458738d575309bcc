"""PNG files, by the encoder of PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mixsynth_stream.files import PartFile


def png_bytes(rgb: np.ndarray) -> bytes:  # [H, W, 3] uint8
    """A picture as the bytes of a PNG file."""
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = rgb.shape[1], rgb.shape[0], "rgb24"
    encoder.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode()])


def write_png(path: Path, rgb: np.ndarray) -> None:  # [H, W, 3] uint8
    """Write a picture, whole or not at all."""
    file = PartFile(path)
    try:
        file.append(png_bytes(rgb))
    except BaseException:
        file.discard()
        raise
    file.close()

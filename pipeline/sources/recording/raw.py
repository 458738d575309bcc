"""RawCoder: pictures that a camera sends without a codec, stored in half their size without loss.

Huffman codes take 2 ms for a picture of 640 x 480 on one core; FFV1 gains little for ten times that.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

import av

from mixsynth_stream.pipeline.sources.pixels.converter import converted
from mixsynth_stream.pipeline.sources.recording.codec import decoder_of, parameters_of

RAW = "rawvideo"
_CODER = "ffvhuff"
# The formats of cameras, and those with the same samples, in planes, that the coder takes.
_PLANAR = {
    **dict.fromkeys(("yuyv422", "uyvy422", "yvyu422", "yuv422p"), "yuv422p"),
    **dict.fromkeys(("nv12", "nv21", "yuv420p"), "yuv420p"),
    **dict.fromkeys(("rgb24", "bgr24"), "rgb24"),
    "gray": "gray",
}


class RawCoder:
    """Takes the raw packets of one format, and gives coded ones with the same bytes in them."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        """`parameters`: those of the raw decoder. ValueError for formats that stay as they are."""
        if parameters.get("pix_fmt") not in _PLANAR:
            raise ValueError(f"{parameters.get('pix_fmt')} is stored as it is")
        self._decoder = decoder_of(parameters)
        self._encoder = cast(av.VideoCodecContext, av.CodecContext.create(_CODER, "w"))
        self._encoder.width, self._encoder.height = parameters["width"], parameters["height"]
        self._encoder.pix_fmt = _PLANAR[parameters["pix_fmt"]]
        self._encoder.time_base = Fraction(1, 1000)
        self._encoder.options = {"pred": "left"}
        self._encoder.thread_count = 1
        self._encoder.open(strict=False)
        self._count = 0

    def coded(self, data: bytes) -> bytes:
        """The coded packet of a raw one."""
        picture = self._decoder.decode(av.Packet(data))[0]
        planes = converted(picture, pixel_format=self._encoder.pix_fmt)
        planes.pts, planes.time_base = self._count, self._encoder.time_base
        self._count += 1
        return b"".join(bytes(packet) for packet in self._encoder.encode(planes))

    @property
    def parameters(self) -> dict[str, Any]:
        """What `RawDecoder` has to know."""
        return parameters_of(self._encoder)


class RawDecoder:
    """Gives the raw packets back."""

    def __init__(self, parameters: dict[str, Any], raw: dict[str, Any]) -> None:
        """`parameters`: those of the coder. `raw`: those of the raw decoder."""
        self._decoder = decoder_of(parameters)
        self._encoder = cast(av.VideoCodecContext, av.CodecContext.create(RAW, "w"))
        self._encoder.width, self._encoder.height = raw["width"], raw["height"]
        self._encoder.pix_fmt = raw["pix_fmt"]
        self._encoder.time_base = Fraction(1, 1000)

    def raw(self, data: bytes) -> bytes:
        """The raw packet of a coded one."""
        picture = self._decoder.decode(av.Packet(data))[0]
        return b"".join(
            bytes(packet) for packet in self._encoder.encode(converted(picture, pixel_format=self._encoder.pix_fmt))
        )


def coder_for(parameters: dict[str, Any], first: bytes) -> RawCoder | None:
    """A coder for the raw packets that begin with this one; None where they would not come back as they are."""
    try:
        coder = RawCoder(parameters)
        coded = coder.coded(first)
        return coder if RawDecoder(coder.parameters, parameters).raw(coded) == first else None
    except (ValueError, IndexError, av.error.FFmpegError):  # rows with gaps, odd sizes
        return None

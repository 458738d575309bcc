"""Decoders of recorded packets: what a decoder has to know besides the packets, and one that knows it."""

from __future__ import annotations

import base64
from typing import Any, cast

import av

# Attributes of a decoder that the container fills in, and that the packets may not repeat. Read by name, because PyAV
# refuses some of them for some codecs.
_ATTRIBUTES = (
    *("codec_tag", "width", "height", "pix_fmt", "bits_per_coded_sample"),
    *("color_range", "color_primaries", "color_trc", "colorspace", "reorder_depth", "thread_count"),
)


def parameters_of(context: av.VideoCodecContext) -> dict[str, Any]:
    """What makes the same decoder, for JSON."""
    values = {name: getattr(context, name) for name in _ATTRIBUTES}
    plain = {name: value for name, value in values.items() if isinstance(value, str | int)}
    return {
        "codec": context.name,
        "extradata": None if context.extradata is None else base64.b64encode(context.extradata).decode(),
        **plain,
    }


def decoder_of(parameters: dict[str, Any]) -> av.VideoCodecContext:
    """A decoder with these parameters, which gives the same pictures of the same packets."""
    context = cast(av.VideoCodecContext, av.CodecContext.create(parameters["codec"], "r"))
    for name in _ATTRIBUTES:
        if name in parameters:
            setattr(context, name, parameters[name])
    if parameters["extradata"] is not None:
        context.extradata = base64.b64decode(parameters["extradata"])
    context.thread_type = "SLICE"
    return context

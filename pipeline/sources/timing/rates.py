"""Frame rates, as far as they are known when a source opens."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

import av

# Streams without a container, which hold no times; FFmpeg gives them this unit, and 25 Hz where they name no rate.
_RAW_UNIT = Fraction(1, 1_200_000)
# A container's number from here on is a clock's; one that no time stamp bears out is believed up to the second.
_CLOCK_HZ, _BELIEVED_HZ = 1000, 250
# A stated rate is exact where the first time stamps, which may jitter, agree with it so far.
_AGREE = 0.1


def is_raw(stream: av.VideoStream) -> bool:
    """Whether this is a bare stream of a codec, whose times are made of its frames' durations alone."""
    return stream.time_base == _RAW_UNIT


def opening_rate_hz(stream: av.VideoStream, packets: Sequence[av.Packet] = ()) -> float | None:
    """The best that is known before the stream is read, from its container and its first packets; None: nothing."""
    stated_hz = float(stream.average_rate or 0)
    if is_raw(stream):
        return float(stream.codec_context.framerate or 0) or stated_hz or None
    if len(packets) == 1 and _holds_pictures(stream):
        return None
    if 0 < stated_hz < _CLOCK_HZ and stream.frames > 1 and stream.duration:
        # The container counted them. An edit list hides some of them, and shortens the duration.
        return min(stated_hz, stream.frames / float(stream.duration * (stream.time_base or 1)))
    stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
    # Where decoding order is another, pictures may be missing among the latest.
    decoded = max((packet.dts for packet in packets if packet.dts is not None), default=None)
    complete = [stamp for stamp in stamps if decoded is None or stamp <= decoded]
    if stream.time_base and complete and complete[-1] > complete[0]:
        unit_s = float(stream.time_base)
        measured_hz = (len(complete) - 1) / ((complete[-1] - complete[0]) * unit_s)
        # Where some have no stamp, the usual step is the better witness.
        usual_hz = 1 / (max(median(b - a for a, b in pairwise(complete)), 1) * unit_s)
        return stated_hz if any(abs(stated_hz / hz - 1) < _AGREE for hz in (measured_hz, usual_hz)) else measured_hz
    guesses_hz = (stated_hz, float(stream.guessed_rate or 0))
    return next((guess_hz for guess_hz in guesses_hz if 0 < guess_hz <= _BELIEVED_HZ), None)


def _holds_pictures(stream: av.VideoStream) -> bool:
    """Whether the format is one of single pictures, for which FFmpeg invents a rate."""
    name = stream.container.format.name
    return name == "image2" or name.endswith("_pipe")

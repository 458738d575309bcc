"""Sound: the sound of a source, packet by packet, not decoded, with times that an MP4 file takes."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av
from av.bitstream import BitStreamFilterContext
from av.format import Flags

from mixsynth_stream.console import shown
from mixsynth_stream.pipeline.sources.timing.times import TimeStamps

log = logging.getLogger(__name__)

# So many packets go into an MP4 in memory first. Some sounds are refused by their codec or rate, others at a packet.
_TRIAL_PACKETS = 4
# The length of a packet that names none.
_USUAL_PACKET_S = 0.02


class Sound:
    """The packets of one sound track. A clock that starts again in the middle goes on, as that of the pictures does."""

    def __init__(self, name: str, source: av.container.InputContainer, target: av.container.OutputContainer) -> None:
        stream = _track(source)
        assert stream is not None
        self.name = name
        self._source = source
        self._target = target.add_stream_from_template(stream)
        self._packets = _timed_packets(source, stream)
        self._next: tuple[av.Packet, float] | None = None
        self._last: int | None = None

    @classmethod
    def open(cls, name: str, target: av.container.OutputContainer) -> Sound | None:
        """The sound of a file; None, with a warning, where there is none that an MP4 file can hold."""
        try:
            with _open(name) as source:
                reason = _refusal(source)
            if reason is None:
                return cls(name, _open(name), target)
            if reason:
                log.warning("the sound of %s is left out: %s", shown(name), reason)
        except (OSError, av.error.FFmpegError) as error:
            log.warning("the sound of %s is left out: %s", shown(name), error.strerror or error)
        return None

    def packets(self, until_s: Fraction, shift_s: Fraction) -> list[av.Packet]:
        """The next packets, as far as they start before `until_s`; their times are moved back by `shift_s`."""
        packets: list[av.Packet] = []
        while (timed := self._next or next(self._packets, None)) is not None:
            packet, time_s = timed
            start_s = time_s - float(shift_s)
            if start_s >= until_s:
                self._next = timed
                break
            self._next = None
            assert packet.time_base is not None  # every packet of a container has one
            start = round(start_s / packet.time_base)
            # Packets before time 0 only start the codec, and MP4 fragments have no such times.
            if start_s >= 0 and (self._last is None or start > self._last):
                packet.pts = packet.dts = self._last = start
                packet.stream = self._target
                packets.append(packet)
        return packets

    def close(self) -> None:
        """Close the source. Safe to call twice."""
        self._source.close()


def _open(name: str) -> av.container.InputContainer:
    # Without the protocol FFmpeg takes what stands before a colon for one.
    return av.open("file:" + name)


def _track(source: av.container.InputContainer) -> av.AudioStream | None:
    """The sound track that a player chooses; None where there is none."""
    track = source.streams.best("audio")
    return track if isinstance(track, av.AudioStream) else None


def _whole_packets(source: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.Packet]:
    """The undamaged packets, up to the place where the file breaks off."""
    # A broadcast has AAC's parameters before every packet, and an MP4 file has them once.
    adts = stream.codec_context.name == "aac" and not stream.codec_context.extradata
    bitstream_filter = BitStreamFilterContext("aac_adtstoasc", stream) if adts else None
    with suppress(av.error.FFmpegError):
        for packet in source.demux(stream):
            # Packets to discard lie outside the part that an edit list shows.
            if packet.size and not packet.is_corrupt and not packet.is_discard:
                with suppress(av.error.FFmpegError):
                    yield from bitstream_filter.filter(packet) if bitstream_filter else [packet]


def _timed_packets(source: av.container.InputContainer, stream: av.AudioStream) -> Iterator[tuple[av.Packet, float]]:
    """The packets with their times in seconds, as a reader has those of the pictures."""
    context = stream.codec_context
    step_s = context.frame_size / context.sample_rate if context.frame_size else _USUAL_PACKET_S
    times: TimeStamps[av.Packet] = TimeStamps(step_s, leaps=Flags.ts_discont in Flags(source.format.flags))
    unit_s = float(stream.time_base or 0)
    packets = _whole_packets(source, stream)
    return times.of((packet, None if packet.pts is None else packet.pts * unit_s) for packet in packets)


def _refusal(source: av.container.InputContainer) -> str | None:
    """Why an MP4 file cannot hold the sound of a source, "" where there is no sound; None where it can."""
    stream = _track(source)
    if stream is None:
        return ""
    if stream.codec_context is None:
        return "it is coded in a way that FFmpeg does not know"
    packets = list(itertools.islice(_whole_packets(source, stream), _TRIAL_PACKETS))
    if not packets:
        return ""
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as trial:
            track = trial.add_stream_from_template(stream)
            for number, packet in enumerate(packets):
                packet.pts = packet.dts = number * max(packet.duration or 1, 1)
                packet.stream = track
                trial.mux(packet)
    except (av.error.FFmpegError, ValueError):
        codec = stream.codec_context.codec.canonical_name
        return f"an MP4 file cannot hold {codec} of {stream.rate} Hz"
    return None

"""`open_source`: the reader for whatever a user calls a source. `open_for_stream`: the same, as a Stream reads it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.own_frames import RgbReader
from mixsynth_stream.pipeline.sources.read_ahead import ReadAhead
from mixsynth_stream.pipeline.sources.rotations import RotationReader
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.synthetic import SyntheticReader
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.spaces import GRID_HZ

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")


def open_source(source: object, *, rate_hz: float = GRID_HZ, retries: int | None = None) -> FrameSource:
    """The reader for a path, a URL, "webcam[:n]" or a camera number, "-", "synthetic:...", or an iterable of frames.

    `rate_hz` is for arrays without times; `retries` is how often a lost live source is opened again (None: for ever).
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, int):
        source = f"webcam:{source}"
    if isinstance(source, os.PathLike):
        return VideoReader(source)
    if not isinstance(source, str):
        if not isinstance(source, Iterable):
            raise ValueError(f"a source is a path, a URL, 'webcam' or an iterator of frames, not {source!r}")
        return RgbReader(source, rate_hz=rate_hz)
    scheme = source.partition("://")[0]
    if source == "webcam" or source.startswith("webcam:") or scheme in LIVE_SCHEMES:
        return LiveReader(source, retries=retries)
    if source.startswith("synthetic:"):
        return SyntheticReader(source)
    reader = VideoReader(source)
    if scheme in ("http", "https") and reader.is_endless:
        reader.close()
        return LiveReader(source, retries=retries)
    return reader


def open_for_stream(source: object, *, has_estimator: bool) -> FrameSource:
    """`open_source`, with a file on a disk decoded ahead.

    An .npz of rotations brings its own estimator: it is a source unless the user has another (`has_estimator`).
    """
    if not has_estimator and isinstance(source, (str, os.PathLike)) and str(source).endswith(".npz"):
        return RotationReader(source)
    reader = open_source(source)
    return ReadAhead(reader) if isinstance(reader, VideoReader) and reader.is_local else reader

"""`open_source`: the reader for whatever a user calls a source. `open_for_stream`: the same, as a Stream reads it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.live.cameras import is_camera
from mixsynth_stream.pipeline.sources.live.opening import first_container
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.media import download
from mixsynth_stream.pipeline.sources.media.container import is_endless, open_container
from mixsynth_stream.pipeline.sources.media.medium import ServerMedium, medium_of
from mixsynth_stream.pipeline.sources.media.names import are_pictures, folder_failure, pictures_behind, videos_in
from mixsynth_stream.pipeline.sources.media.waiting import interruptible
from mixsynth_stream.pipeline.sources.own_frames import RgbReader
from mixsynth_stream.pipeline.sources.read_ahead import ReadAhead
from mixsynth_stream.pipeline.sources.recording.header import is_recording
from mixsynth_stream.pipeline.sources.recording.recorder import RecordedReader
from mixsynth_stream.pipeline.sources.rotations import RotationReader
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.stills import StillsReader
from mixsynth_stream.pipeline.sources.synthetic import SyntheticReader
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.spaces import GRID_HZ

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")


def open_source(
    source: object,
    *,
    rate_hz: float | None = None,
    retries: int | None = None,
    track: int | None = None,
    spool: bool = False,
    request: LiveRequest | None = None,
    record: Path | None = None,
) -> FrameSource:
    """The reader for a path, a URL, "webcam[:n]" or a camera number, "-", "synthetic:...", a folder or pattern of
    pictures, a list of their paths, or an iterable of frames.

    `rate_hz` is for pictures and arrays without times (30 by default); `retries` is how often a lost live source is
    opened again (None: for ever); `track` chooses a video track of a file or stream, counted from 0 (None: the one that
    players show). With `spool`, a pipe or a file on a web server is first copied into a temporary file. `request` is
    for cameras and streams, and for files that are to be played as if they were live. `record` is a new folder that a
    live source is kept in.
    """
    if isinstance(source, FrameSource):
        return _refused(source, record)
    if track is not None and track < 0:
        raise ValueError(f"track must be 0 or more, not {track}")
    if track is not None and not _has_tracks(source):
        raise SourceError(f"{source!s:.80} has no video tracks to choose from: leave --track (track=) out")
    rate_hz = GRID_HZ if rate_hz is None else rate_hz
    if isinstance(source, int):
        source = f"webcam:{source}"
    if isinstance(source, (bytes, os.PathLike)):
        return _open_path(os.fsdecode(source), rate_hz, retries, track, spool, request, record)
    if not isinstance(source, str):
        if not isinstance(source, Iterable):
            raise ValueError(f"a source is a path, a URL, 'webcam' or an iterator of frames, not {source!r}")
        if isinstance(source, (list, tuple)) and are_pictures(source):
            return _refused(StillsReader(source, rate_hz=rate_hz), record)
        return _refused(RgbReader(source, rate_hz=rate_hz), record)
    if is_live(source):
        return _open_live(source, record, retries=retries, track=track, request=request)
    if source.startswith("synthetic:"):
        return _refused(SyntheticReader(source), record)
    return _open_path(source, rate_hz, retries, track, spool, request, record)


def is_live(source: str) -> bool:
    """Whether a source is live by its name. What a web server sends shows that only when it is open."""
    return is_camera(source) or source.partition("://")[0].lower() in LIVE_SCHEMES


def _has_tracks(source: object) -> bool:
    """Whether a source is a container, in which several videos may lie."""
    if isinstance(source, str):
        return not (source.startswith("synthetic:") or pictures_behind(source))
    return isinstance(source, (int, bytes, os.PathLike))


def _open_path(
    name: str,
    rate_hz: float,
    retries: int | None,
    track: int | None,
    spool: bool,
    request: LiveRequest | None,
    record: Path | None,
) -> FrameSource:
    """The reader for a path, a URL or "-". One that may wait for another program can be interrupted."""
    if is_recording(name):
        raise SourceError(f"{shown(name)} is a recording, which has a stream of its own: Stream.replay(...) plays it")
    if pictures_behind(name):
        if os.path.isdir(name) and videos_in(name):
            raise SourceError(folder_failure(name))
        return _refused(StillsReader(name, rate_hz=rate_hz), record)
    medium = medium_of(name)
    if isinstance(medium, ServerMedium) and request is not None:
        medium.limit(request.timeout_s)
    if request is not None and request.is_paced and (medium.is_local or "://" in name):
        return _open_live(name, record, track=track, request=request)
    if medium.is_local:
        return _refused(VideoReader(medium, track=track), record)
    container = None
    if name.partition("://")[0].lower() in download.SCHEMES and not spool:
        live = request or LiveRequest()
        container = first_container(
            lambda: open_container(medium), name, wait=live.wait, closing=live.closing, on_wait=live.on_wait
        )
        if is_endless(container):
            return _open_live(name, record, retries=retries, track=track, request=request, container=container)
    reader = interruptible(lambda: VideoReader(medium, track=track, spool=spool, container=container), medium.stop)
    _refused(reader, record)
    return reader if reader.is_local else ReadAhead(reader)


def _open_live(source: str, record: Path | None, **options: Any) -> FrameSource:
    """A LiveReader with these options, recorded into a folder if there is one."""
    if record is None:
        return LiveReader(source, **options)
    return RecordedReader(record, lambda tap: LiveReader(source, tap=tap, **options))


def _refused(reader: FrameSource, record: Path | None) -> FrameSource:
    """The reader of a source that is not live, unless it is to be recorded."""
    if record is not None:
        reader.close()
        raise ValueError(
            "only cameras, live streams, and files that are played as if they were live (--live) can be recorded: "
            "leave --record (record=) out"
        )
    return reader


def open_for_stream(
    source: object,
    *,
    has_estimator: bool,
    rate_hz: float | None = None,
    track: int | None = None,
    spool: bool = False,
    request: LiveRequest | None = None,
    record: Path | None = None,
) -> FrameSource:
    """`open_source`, with files on a disk decoded ahead.

    An .npz of rotations brings its own estimator: it is a source unless the user has another (`has_estimator`).
    """
    if not has_estimator and isinstance(source, (str, os.PathLike)) and str(source).endswith(".npz"):
        return RotationReader(source)
    reader = open_source(source, rate_hz=rate_hz, track=track, spool=spool, request=request, record=record)
    is_file = (isinstance(reader, VideoReader) and reader.is_local) or isinstance(reader, StillsReader)
    return ReadAhead(reader) if is_file else reader

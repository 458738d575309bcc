"""Tracks: which of the video tracks in a container is *the* video."""

from __future__ import annotations

import av
from av.stream import Discard, Disposition

from mixsynth_stream.errors import SourceError

# Covers, thumbnails, photos, and layers that only mean something together with another track.
_NO_VIDEO = (
    Disposition.attached_pic
    | Disposition.timed_thumbnails
    | Disposition.still_image
    | Disposition.dependent
    | Disposition.metadata
)


def video_track(container: av.container.InputContainer, name: str, number: int | None = None) -> av.VideoStream:
    """Video track `number`, counted from 0; by default the one that players show. The others are not read any more.

    Players show the default track. Where several are default, or none, it is one with more than one picture, then the
    largest, then the first. Raises SourceError; `name` is for its sentence.
    """
    tracks = container.streams.video
    if number is not None:
        if number >= len(tracks):
            raise SourceError(f"{name} has no video track {number}: {_listing(tracks) or 'it has none at all'}")
        track = tracks[number]
    else:
        shows = [track for track in tracks if not track.disposition & _NO_VIDEO]
        # A photo, or a file with nothing else, is better than nothing.
        shows = shows or [track for track in tracks if not track.disposition & Disposition.attached_pic]
        if not shows:
            kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
            others = f", only {' and '.join(kinds)}" if kinds else ""
            raise SourceError(f"{name} has no video in it{others}: give a video file")
        track = max(shows, key=_rank)  # the first of equals
    if track.codec_context is None:
        raise SourceError(f"{name} is coded in a way that FFmpeg does not know: convert it to H.264")
    for stream in container.streams:
        if stream is not track:
            stream.discard = Discard.all
    return track


def _rank(track: av.VideoStream) -> tuple[bool, bool, bool, int]:
    is_default = bool(track.disposition & Disposition.default)
    return track.codec_context is not None, is_default, track.frames != 1, _size(track)


def _size(track: av.VideoStream) -> int:
    context = track.codec_context
    return context.width * context.height if context is not None else 0


def _listing(tracks: tuple[av.VideoStream, ...]) -> str:
    """The tracks with their numbers, for somebody who has to choose."""
    texts = []
    for number, track in enumerate(tracks):
        context = track.codec_context
        text = f"{number} ({context.width}x{context.height} {context.name}" if context else f"{number} (unknown"
        marks = [flag.name for flag in (Disposition.default, Disposition.attached_pic) if track.disposition & flag]
        texts.append(", ".join([text, *(str(mark) for mark in marks)]) + ")")
    return "choose one of " + ", ".join(texts) if texts else ""

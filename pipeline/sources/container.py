"""Containers: how FFmpeg opens a file, which of its streams is the video, and why it cannot be opened, in words."""

from __future__ import annotations

import sys
from pathlib import Path

import av
from av.stream import Disposition

from mixsynth_stream.errors import SourceError

_OPEN_S, _READ_S = 10.0, 30.0  # time limits for a server that sends a file


def open_container(name: str) -> av.container.InputContainer:
    """Open a file for reading. `SourceError` says in one sentence why it cannot be opened."""
    if name == "-":
        if sys.stdin.isatty():
            raise SourceError("'-' reads a video from standard input, which is a terminal: pipe a video into it")
        file: object = sys.stdin.buffer
    elif "://" in name:
        file = name
    elif Path(name).is_dir():
        raise SourceError(f"{name} is a folder: give a video file, or a pattern such as '{Path(name) / '*.mp4'}'")
    else:
        file = "file:" + name  # without it FFmpeg takes what stands before a colon for a protocol
    try:
        return av.open(file, "r", timeout=None if file is not name else (_OPEN_S, _READ_S))
    except av.error.FFmpegError as error:
        raise SourceError(_file_failure(name, error)) from error


def _file_failure(name: str, error: av.error.FFmpegError) -> str:
    """Why a file cannot be opened, in a sentence that says what to do."""
    if isinstance(error, av.error.FileNotFoundError):
        return f"there is no file {name}: check the path"
    if isinstance(error, av.error.PermissionError):
        return f"{name} may not be read: change its permissions"
    if isinstance(error, av.error.InvalidDataError) and Path(name).is_file():
        with open(name, "rb") as file:
            head = file.read(12)
        if not head:
            return f"{name} is empty (0 bytes): copy or record it again"
        if head[4:8] == b"ftyp":
            return f"{name} is an MP4 without its index, so it was cut off while recorded or copied: copy it again"
        return f"{name} is not a video: no format that FFmpeg knows was found in it; check the file"
    return f"{name} cannot be opened ({ffmpeg_reason(error)}): check that it is a video that can be reached from here"


def video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """The first video stream that is not the picture of an album's cover."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise SourceError(f"{name} is coded in a way that FFmpeg does not know: convert it to H.264")
            return stream
    kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
    others = f", only {' and '.join(kinds)}" if kinds else ""
    raise SourceError(f"{name} has no video in it{others}: give a video file")


def ffmpeg_reason(error: av.error.FFmpegError) -> str:
    """Why FFmpeg failed, in words that help."""
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return "no answer in time"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "the FFmpeg in use does not know this protocol"
    return error.strerror or type(error).__name__

"""Containers: how FFmpeg opens a medium, and why it cannot, in words."""

from __future__ import annotations

import av

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.media.medium import Medium


def open_container(medium: Medium) -> av.container.InputContainer:
    """Open a medium for reading. `SourceError` says in one sentence why it cannot be opened."""
    try:
        # Titles in other encodings than UTF-8 are common, and nobody here reads them.
        return av.open(medium.target(), "r", timeout=medium.timeout, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        medium.raise_interruption()
        raise SourceError(_failure(medium, error)) from error


def _failure(medium: Medium, error: Exception) -> str:
    """Why a medium cannot be opened, in a sentence that says what to do."""
    name = medium.shown
    if isinstance(error, FileNotFoundError):
        return f"there is no file {name}: check the path"
    if isinstance(error, PermissionError):
        return f"{name} may not be read: change its permissions"
    is_unknown = isinstance(error, av.error.InvalidDataError)
    diagnosis = medium.diagnosis() if is_unknown or not medium.can_reopen else ""
    if diagnosis:
        return f"{name} {diagnosis}"
    if is_unknown:
        return f"{name} is not a video: no format that FFmpeg knows was found in it; check the file"
    return f"{name} cannot be opened ({ffmpeg_reason(error)}): check that it is a video that can be reached from here"


def ffmpeg_reason(error: Exception) -> str:
    """Why FFmpeg failed, in words that help."""
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return "no answer in time"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "the FFmpeg in use does not know this protocol"
    return getattr(error, "strerror", None) or type(error).__name__

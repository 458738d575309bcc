"""Containers: how FFmpeg opens a medium, and why it cannot, in words."""

from __future__ import annotations

import errno
import socket
import threading
from urllib.parse import urlsplit

import av

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.media.medium import Medium

_RESOLVE_S = 3.0


def open_container(medium: Medium) -> av.container.InputContainer:
    """Open a medium for reading. `SourceError` says in one sentence why it cannot be opened."""
    try:
        # Titles in other encodings than UTF-8 are common, and nobody here reads them.
        return av.open(medium.target(), "r", timeout=medium.timeout, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        medium.raise_interruption()
        raise SourceError(_failure(medium, error)) from error


def is_endless(container: av.container.InputContainer) -> bool:
    """Whether a server sends this without end: it has no duration, and either no size or a list of segments."""
    has_duration = container.duration is not None or any(stream.duration is not None for stream in container.streams)
    return not has_duration and (container.format.name in ("hls", "dash") or container.size <= 0)


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
    reason = ffmpeg_reason(error, medium.name)
    return f"{name} cannot be opened ({reason}): check that it is a video that can be reached from here"


def ffmpeg_reason(error: Exception, address: str = "") -> str:
    """Why FFmpeg failed, in words that help. At an `address` a host without a name is told from other failures."""
    host = host_without_address(address) if getattr(error, "errno", None) == errno.EIO else ""
    if host:
        return f"no computer is known by the name {host}"
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return "no answer in time"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "the FFmpeg in use does not know this protocol"
    return getattr(error, "strerror", None) or type(error).__name__


def host_without_address(address: str) -> str:
    """The host of an address where the network knows none of that name: FFmpeg only says that input failed."""
    try:
        host = urlsplit(address).hostname if "://" in address else None
    except ValueError:
        return ""
    if not host:
        return ""
    failures: list[str] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, None)
        except socket.gaierror:
            failures.append(host)
        except (OSError, UnicodeError):
            pass

    thread = threading.Thread(target=resolve, name="resolve", daemon=True)
    thread.start()
    thread.join(_RESOLVE_S)  # a name server that does not answer
    return failures[0] if failures else ""

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
# Schemes whose addresses name no usual port.
_WITH_PORT = ("tcp", "udp", "rtp", "srt")
# Of these failures nothing came that could be looked at.
_NOTHING_CAME = (
    av.error.ExitError,
    av.error.HTTPClientError,
    av.error.HTTPError,
    av.error.ProtocolNotFoundError,
    ConnectionError,
    TimeoutError,
)


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
    has_come = not isinstance(error, _NOTHING_CAME)
    diagnosis = medium.diagnosis() if is_unknown or (has_come and not medium.can_reopen) else ""
    if diagnosis:
        return f"{name} {diagnosis}"
    if is_unknown:
        return f"{name} is not a video: no format that FFmpeg knows was found in it; check the file"
    refusal = refusal_of(name, error)
    if refusal:
        return refusal
    reason = ffmpeg_reason(error, medium.name)
    return f"{name} cannot be opened ({reason}): check that it is a video that can be reached from here"


def refusal_of(name: str, error: Exception) -> str:
    """Why an address is refused, in a sentence that says what to do; empty where the failure is another one."""
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return f"{name} lets nobody in without the right user and password: put USER:PASSWORD@ before its host"
    if isinstance(error, av.error.ProtocolNotFoundError):
        scheme = name.partition("://")[0]
        return f"{name} cannot be opened: the FFmpeg in use does not know {scheme}://; give another address, or a file"
    return ""


def ffmpeg_reason(error: Exception, address: str = "") -> str:
    """Why FFmpeg failed, in words that help. At an `address` a host without a name is told from other failures."""
    host = host_without_address(address) if getattr(error, "errno", None) == errno.EIO else ""
    if host:
        return f"no computer is known by the name {host}"
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return "no answer in time"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "the FFmpeg in use does not know this protocol"
    if getattr(error, "errno", None) == errno.EINVAL and (port := _port_failure(address)):
        return port
    return getattr(error, "strerror", None) or type(error).__name__


def _port_failure(address: str) -> str:
    """What is wrong with the port of an address; empty where it is one, or where none is needed."""
    if "://" not in address:
        return ""
    try:
        parts = urlsplit(address)
        is_missing = parts.port is None and parts.scheme in _WITH_PORT
    except ValueError:
        return "its port is no number up to 65535"
    return "its port is missing" if is_missing else ""


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

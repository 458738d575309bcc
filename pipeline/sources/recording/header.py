"""Header of a recording: the file by which its folder is known, with all that its stream was started with."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from mixsynth_stream.console import shown
from mixsynth_stream.errors import OutputError, SourceError
from mixsynth_stream.files import write_whole
from mixsynth_stream.pipeline.frame import VideoInfo
from mixsynth_stream.redact import redacted

HEADER, JOURNAL = "recording.json", "journal.jsonl"
_FORMAT, _FORMAT_VERSION = "mixsynth-stream recording", 2


def is_recording(source: object) -> bool:
    """Whether a source is the folder of a recording."""
    return isinstance(source, (str, os.PathLike)) and os.path.isfile(os.path.join(os.fsdecode(source), HEADER))


def recordings_in(folder: str) -> list[str]:
    """The recordings of several sources, which lie side by side in a folder, in order."""
    names = (os.path.join(folder, name) for name in sorted(os.listdir(folder)))
    return [name for name in names if is_recording(name)]


def refuse_used(folder: Path) -> None:
    """`OutputError` for a folder that holds anything yet."""
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{shown(folder)} is not empty: give a new folder for the recording")


def write_header(folder: Path, info: VideoInfo, settings: dict[str, Any]) -> None:
    """Write the header of a recording, without the secrets of its address. Raises OutputError."""
    from mixsynth_stream import __version__

    facts = asdict(info) | {"source": redacted(info.source), "time_base": str(info.time_base)}
    header = {
        "format": _FORMAT,
        "version": _FORMAT_VERSION,
        "made_by": __version__,
        "versions": library_versions(),
        "info": facts,
        **settings,
    }
    write_whole(folder / HEADER, (json.dumps(header, indent=1) + "\n").encode())


def read_header(folder: Path) -> dict[str, Any]:
    """The header of a recording. `SourceError` where it is damaged, or of another version."""
    from mixsynth_stream import __version__

    name = shown(folder / HEADER)
    try:
        header = json.loads((folder / HEADER).read_bytes())
        is_ours, version = header["format"] == _FORMAT, header["version"]
        maker, _, _ = header["made_by"], header["info"]["source"], header["stream"]
    except OSError as error:
        raise SourceError(f"{shown(folder)} is no recording: {HEADER} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{name} is damaged ({error!r}): copy the recording again") from None
    if not is_ours or version != _FORMAT_VERSION or maker != __version__:
        raise SourceError(
            f"{name} is of mixsynth-stream {maker} (format {version}), and this is {__version__} (format "
            f"{_FORMAT_VERSION}), which may give other poses: replay it with the version that made it"
        )
    return dict(header)


def info_of(header: dict[str, Any]) -> VideoInfo:
    """What was known about the source."""
    facts = header["info"]
    stored = facts["stored_size"]
    return VideoInfo(
        **facts | {"time_base": Fraction(facts["time_base"]), "stored_size": None if stored is None else tuple(stored)}
    )


def library_versions() -> dict[str, str]:
    """The versions of what poses depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in ("numpy", "av", "mediapipe"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    return versions

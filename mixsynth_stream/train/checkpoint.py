"""Checkpoints: written beside the old one and put in its place only when whole; read without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import whole_file


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Raises `OutputError` where the disk says no; what was at `path` is still there then."""
    with whole_file(path, "the checkpoint before is kept") as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's own word for a disk that is full
            raise OSError(f"the disk did not take all of it ({error})") from error


def read_checkpoint(path: Path, settings: str) -> dict[str, Any]:
    """What was written, if it was made with these settings. Raises `SourceError`."""
    if not path.exists():
        raise SourceError(f"there is no checkpoint {path} to resume from; start without --resume")
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        made_with = saved["settings"]
    except Exception as error:  # a damaged file can raise anything
        raise SourceError(f"{path} is damaged or no checkpoint of ours; start without --resume") from error
    if made_with != settings:
        found = _differences(made_with, settings)
        raise SourceError(
            f"{path} was made with other settings ({found}); resume with those, or start without --resume"
        )
    return saved


def _differences(there: str, here: str) -> str:
    """`batch 64, here 32`: the settings that are not the same. Settings are JSON and then the number of processes."""
    parts = []
    for text in (there, here):
        known, _, processes = text.rpartition(", processes ")
        try:
            parts.append(json.loads(known) | {"processes": processes})
        except (ValueError, TypeError):
            return f"{there}, here {here}"
    old, new = parts
    names = [name for name in (*old, *new) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {_short(old.get(name))}, here {_short(new.get(name))}" for name in dict.fromkeys(names))


def _short(value: object) -> str:
    """Hashes of data are too long to be read."""
    text = "none" if value is None else str(value)
    return text if len(text) <= 16 else f"{text[:8]}..."

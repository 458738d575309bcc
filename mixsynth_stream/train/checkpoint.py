"""Checkpoint: the state of a training in a file. Only a whole file replaces the one before; reading runs no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import whole_file


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`. Raises `OutputError` where the disk says no; the file before is then still there."""
    with whole_file(path, "the checkpoint before is kept") as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch raises this where the disk is full
            raise OSError(f"the disk did not take all of it ({error})") from error


def load_checkpoint(path: Path, settings: str) -> dict[str, Any]:
    """The content of a checkpoint of these settings. Raises `SourceError` for another one, or none."""
    if not path.exists():
        raise SourceError(f"there is no checkpoint {path} to resume from; start without --resume")
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        saved_settings = content["settings"]
    except Exception as error:  # a damaged file can raise anything
        raise SourceError(f"{path} is damaged or no checkpoint of ours; start without --resume") from error
    if saved_settings != settings:
        changes = _setting_changes(saved_settings, settings)
        raise SourceError(
            f"{path} was made with other settings ({changes}); resume with those, or start without --resume"
        )
    return content


def _setting_changes(saved: str, current: str) -> str:
    """The settings that differ, as in `batch 64, here 32`. Settings are JSON, followed by the number of processes."""
    both = []
    for text in (saved, current):
        fields, _, processes = text.rpartition(", processes ")
        try:
            both.append(json.loads(fields) | {"processes": processes})
        except (ValueError, TypeError):
            return f"{saved}, here {current}"
    old, new = both
    names = dict.fromkeys(name for name in (*old, *new) if old.get(name) != new.get(name))
    return "; ".join(f"{name} {_setting_text(old.get(name))}, here {_setting_text(new.get(name))}" for name in names)


def _setting_text(value: object) -> str:
    """The value as text; one that is too long to read, such as a hash, is cut short."""
    text = "none" if value is None else str(value)
    return text if len(text) <= 16 else f"{text[:8]}..."

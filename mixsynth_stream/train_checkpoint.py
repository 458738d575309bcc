"""Checkpoints: written beside the old one and put in its place only when whole; read without running anything."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from mixsynth_stream.errors import OutputError, SourceError


def make_folder(folder: Path) -> None:
    """Raises `OutputError` where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Raises `OutputError` where the disk says no; what was at `path` is still there then."""
    part = path.with_suffix(".part")
    try:
        torch.save(content, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write the checkpoint {path}: {error}; the one before is kept") from error


def read_checkpoint(path: Path, settings: str) -> dict[str, Any]:
    """What was written, if it was made with these settings. Raises `SourceError`."""
    if not path.exists():
        raise SourceError(f"there is no checkpoint {path} to resume from; start without --resume")
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        made_with = saved["settings"]
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise SourceError(f"{path} is damaged or no checkpoint of ours; start without --resume") from error
    if made_with != settings:
        raise SourceError(f"{path} was made with other settings ({made_with}); resume with the same ones ({settings})")
    return saved

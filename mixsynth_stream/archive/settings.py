"""`settings_of`: all that results depend on beside their source, as a manifest keeps it and a later run compares it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mixsynth_stream.archive.entry import file_sha256
from mixsynth_stream.export.header import made_by
from mixsynth_stream.job.options import JobOptions

# What shows, sends or waits changes no result, and cameras have no results that are kept.
_WITHOUT_EFFECT = frozenset(
    {
        "size",
        "mirror",
        "wait",
        "timeout_s",
        "live",
        "record",
        "spool",
        "view",
        "view_at",
        "send",
        "metrics_at",
        "progress",
    }
)


def settings_of(options: JobOptions) -> dict[str, Any]:
    """The program and its version, the options by their names in `JobOptions`, and the SHA-256 of models and estimates.

    Raises `ModelError` and `ValueError` for those that cannot be used.
    """
    fields = {name: value for name, value in asdict(options).items() if name not in _WITHOUT_EFFECT}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return {"made_by": made_by(), **plain, "sha256": _digests(options)}


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not as it was, in words; "" where nothing is."""
    if earlier.get("made_by") != now["made_by"]:
        return "another version"
    names = [name for name in now if earlier.get(name) != now[name]]
    words = {"sha256": "other weights, models or estimates"}
    return ", ".join(words.get(name, f"another {name.replace('_', ' ')}") for name in names)


def _digests(options: JobOptions) -> dict[str, str]:
    """The SHA-256 of each file that the job loads, by its role."""
    from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL
    from mixsynth_stream.pipeline.estimators.choose import model_path
    from mixsynth_stream.presets import AUTO, AUTO_EVERY, DEFAULT_EVERY, shipped_name
    from mixsynth_stream.spaces import LANDMARK_SPACES
    from mixsynth_stream.weights import weights_path

    spacing = AUTO_EVERY if options.every == AUTO else int(options.every or DEFAULT_EVERY)
    names = options.weights or tuple(shipped_name(space, spacing) for space in LANDMARK_SPACES)
    digests = {f"weights {name}": file_sha256(weights_path(name)) for name in names}
    if options.estimates is not None:
        digests["estimates"] = _estimates_sha256(Path(options.estimates))
    else:
        digests["model"] = file_sha256(model_path(options.pose_model or DEFAULT_MODEL))
    return digests


def _estimates_sha256(path: Path) -> str:
    """Of a file; of a folder, of the names and contents of its files. "" where there is nothing: the job says so."""
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    files = sorted(path.glob("*.json")) if path.is_dir() else []
    for file in files:
        digest.update(f"{file.name}\0{file_sha256(file)}\n".encode(errors="replace"))
    return digest.hexdigest() if files else ""

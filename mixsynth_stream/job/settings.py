"""`settings_of`: all that results depend on beside their source, as their headers and manifests have it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mixsynth_stream.console import utf8
from mixsynth_stream.export.header import made_by
from mixsynth_stream.files import file_sha256
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
    fields = {name: _plain(value) for name, value in asdict(options).items() if name not in _WITHOUT_EFFECT}
    return {"made_by": made_by(), **fields, "sha256": _digests(options)}


def _plain(value: Any) -> Any:
    """A value as JSON in UTF-8 gives it back."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return utf8(value) if isinstance(value, str) else value


def origin_of(settings: Mapping[str, Any] | JobOptions, source_state: Mapping[str, Any]) -> dict[str, Any]:
    """What the header of a result says of its origin: whether the same poses would come out again.

    That depends neither on the date of the source, which a copy has not, nor on other results beside these.
    """
    settings = settings_of(settings) if isinstance(settings, JobOptions) else settings
    made_with = {name: value for name, value in settings.items() if name not in ("formats", "plot")}
    state = {name: value for name, value in source_state.items() if name != "modified_ns"}
    return {"made_with": made_with, "source_state": state}


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
    digests = {f"weights {utf8(name)}": file_sha256(weights_path(name)) for name in names}
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
    names = sorted(name for name in os.listdir(path) if name.endswith(".json")) if path.is_dir() else []
    for name in names:
        with open(os.path.join(path, name), "rb", buffering=0) as file:
            content = hashlib.sha256(file.read())
        digest.update(f"{name}\0{content.hexdigest()}\n".encode(errors="replace"))
    return digest.hexdigest() if names else ""

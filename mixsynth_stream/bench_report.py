"""What a benchmark writes: a table for people, JSON rows with machine, versions and commit for programs."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mixsynth_stream.errors import OutputError

_PACKAGES = ("mixsynth-stream", "numpy", "av", "mediapipe")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *cells[1:]]) for row, cells in zip(rows, lines, strict=True))


def write_json(path: Path, rows: Sequence[Mapping[str, Any]], packages: Sequence[str] = ()) -> None:
    """Rows with what made them, and the versions of `packages` too where they are installed. Raises `OutputError`."""
    # A machine for the kernels alone has neither av nor mediapipe.
    installed = [name for name in (*_PACKAGES, *packages) if _is_installed(name)]
    versions = {name: metadata.version(name) for name in installed}
    document = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {processor()}",
        "versions": {"python": platform.python_version(), **versions},
        "commit": _commit(),
        "rows": list(rows),
    }
    try:
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name.replace("-", "_")) is not None


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")


def _commit() -> str | None:
    """The checkout's commit; None outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

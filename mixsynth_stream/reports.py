"""Reports: a table for people, JSON rows with machine, versions and commit for programs, a plot for both."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mixsynth_stream.files import CHECKOUT, write_whole

# Packages of the base install that decide results and speed. A machine for the kernels alone lacks av and mediapipe.
PACKAGES = ("numpy", "av", "mediapipe")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Text with aligned columns: the first one to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write_json(path: Path, rows: Sequence[Mapping[str, Any]], packages: Sequence[str] = (), **more: Any) -> None:
    """Write rows beside machine, versions, commit and `more`. The versions include those of `packages`.

    The same rows are the same bytes: there is no time stamp. A name that ends in .gz is packed. Raises `OutputError`.
    """
    document = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {processor()}",
        "versions": {"python": platform.python_version(), **_versions(("mixsynth-stream", *PACKAGES, *packages))},
        "commit": _commit(),
        **more,
    }
    # Each row takes one line, because people search and compare hundreds of them.
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    text = json.dumps(document, indent=1)[:-2] + f',\n "rows": [\n{lines}\n]\n}}\n'
    write_whole(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())


def save_plot(path: Path, figure: Any) -> None:
    """Write a matplotlib figure as a PNG. Raises `OutputError`."""
    png = io.BytesIO()
    figure.savefig(png, dpi=120, format="png")
    write_whole(path, png.getvalue())


def processor() -> str:
    """The processor's name, or as much of it as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")


def _versions(packages: Sequence[str]) -> dict[str, str]:
    installed = [name for name in packages if importlib.util.find_spec(name.replace("-", "_")) is not None]
    return {name: metadata.version(name) for name in installed}


def _commit() -> str | None:
    """The checkout's commit; None outside one."""
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

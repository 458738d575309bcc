"""TRC files: markers over time, as OpenSim, Pose2Sim and this package write them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

_HEAD_LINES = 5


class Markers(NamedTuple):
    """M markers in T frames."""

    time_s: np.ndarray  # [T]
    names: tuple[str, ...]  # M
    positions: np.ndarray  # [T, M, 3] metres, y up; NaN where a cell is empty


def read_markers(path: str | Path) -> Markers:
    """The markers of a file. `ValueError` where it is no TRC file, or its unit is neither m nor mm."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) <= _HEAD_LINES or not lines[0].startswith("PathFileType"):
        raise ValueError(f"{path} is not a TRC file: its first line should start with PathFileType")
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
    units = header.get("Units", "").strip()
    if units not in ("m", "mm"):
        raise ValueError(f"{path}: marker units must be m or mm, found {units!r}")
    names = tuple(name.strip() for name in lines[3].split("\t")[2:] if name.strip())
    width = 2 + 3 * len(names)
    rows = []
    for number, line in enumerate(lines[_HEAD_LINES:], _HEAD_LINES + 1):
        if not line.strip():
            continue
        cells = line.split("\t")[:width]
        try:
            numbers = [float(cell) if cell.strip() else np.nan for cell in cells]
        except ValueError:
            raise ValueError(f"{path}, line {number}: cells must be numbers or empty, found {line[:40]!r}") from None
        rows.append(numbers + [np.nan] * (width - len(numbers)))
    values = np.array(rows, np.float64).reshape(len(rows), width)
    positions = values[:, 2:].reshape(len(rows), len(names), 3) * (0.001 if units == "mm" else 1.0)
    return Markers(values[:, 1], names, positions)


def read_trc(path: str | Path) -> dict[str, np.ndarray]:
    """Marker positions [T, 3] by name, as `read_markers` reads them. Rows are frames in order."""
    markers = read_markers(path)
    return {name: markers.positions[:, m] for m, name in enumerate(markers.names)}

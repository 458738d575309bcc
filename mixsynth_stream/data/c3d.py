"""C3D files: named markers in metres, read by the library ezc3d (`pip install 'mixsynth-stream[c3d]'`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from mixsynth_stream.data.sequences import PoseSequence, checked
from mixsynth_stream.errors import ModelError, SourceError

_METRES_PER_WORD = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}


def read_c3d(
    path: str | Path,
    markers: Sequence[str | tuple[str, ...]] | None = None,
    subject: str = "",
    *,
    longest_gap_s: float = 0.0,
) -> PoseSequence:
    """The `markers` of a file, or all of its markers, in metres by the unit that the file states.

    A tuple is one marker with several names, and the result has the first one. A prefix before a colon in the file's
    names does not count. A gap of up to `longest_gap_s` between two frames that have the marker is filled by a line;
    any other gap is refused. Raises `SourceError`, and `ModelError` without the library.
    """
    labels, points, rate_hz = _read_points(path)
    aliases = [(name,) if isinstance(name, str) else name for name in (labels if markers is None else markers)]
    columns = [_column(path, names, labels) for names in aliases]
    if not columns:
        raise SourceError(f"{path} has no marker at all")
    poses = points[:, columns]
    if longest_gap_s > 0:
        for column in range(len(columns)):
            _join_gaps(poses[:, column], int(longest_gap_s * rate_hz + 1e-6))
    gaps = np.flatnonzero(~np.isfinite(poses).all(axis=(0, 2)))
    joints = [names[0] for names in aliases]
    # The error of `checked` counts frames only, so it is told which markers have gaps.
    where = path if not len(gaps) else f"{path} (marker {', '.join(joints[n] for n in gaps[:5])})"
    return checked(
        where, name=Path(path).stem, poses=poses.astype(np.float32), joints=joints, rate_hz=rate_hz, subject=subject
    )


def _read_points(path: str | Path) -> tuple[list[str], np.ndarray, float]:
    """Names, places [T, M, 3] in metres, and the rate."""
    try:
        import ezc3d
    except ImportError as error:
        raise ModelError("C3D files need ezc3d: pip install 'mixsynth-stream[c3d]'") from error
    if not Path(path).is_file():
        raise SourceError(f"there is no file {path}")
    try:
        content = ezc3d.c3d(str(path))
        point = content["parameters"]["POINT"]
        labels = [str(label).strip() for label in point["LABELS"]["value"]]
        unit = str(([*point["UNITS"]["value"], ""])[0]).strip().lower()
        rate_hz = float(point["RATE"]["value"][0])
        points = np.asarray(content["data"]["points"])
    except Exception as error:  # a damaged file can raise anything
        raise SourceError(f"{path} cannot be read as C3D ({error}); use an intact file") from error
    if unit not in _METRES_PER_WORD:
        raise SourceError(f"{path} states the unit {unit!r}; known are {', '.join(_METRES_PER_WORD)}")
    return labels, points[:3].transpose(2, 1, 0) * _METRES_PER_WORD[unit], rate_hz


def _column(path: str | Path, names: tuple[str, ...], labels: list[str]) -> int:
    bare = [label.rpartition(":")[2] for label in labels]
    for name in names:
        if name in labels:
            return labels.index(name)
        if bare.count(name) > 1:
            matches = ", ".join(label for label in labels if label.endswith(name))
            raise SourceError(f"{path} has several markers {name} ({matches}); give files of one person")
        if name in bare:
            return bare.index(name)
    raise SourceError(f"{path} has no marker {' or '.join(names)}; it has {', '.join(labels) or 'none'}")


def _join_gaps(places: np.ndarray, longest: int) -> None:  # [T, 3], changed in place
    """Fill gaps of up to `longest` frames by a line."""
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    for before, after in pairwise(known):
        if 1 < after - before <= longest + 1:
            part = np.arange(1, after - before)[:, None] / (after - before)
            places[before + 1 : after] = places[before] * (1 - part) + places[after] * part

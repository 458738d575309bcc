"""C3D files: named markers in metres, read by the library ezc3d (`pip install 'mixsynth-stream[c3d]'`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixsynth_stream.data.sequences import PoseSequence, checked
from mixsynth_stream.errors import ModelError, SourceError

_METRES_PER_WORD = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}


def read_c3d(path: str | Path, markers: Sequence[str] | None = None, subject: str = "") -> PoseSequence:
    """The markers of a file (those named, or all), in the unit that the file states. A marker with a gap is refused."""
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
    except Exception as error:  # the library raises whatever the damage leads to
        raise SourceError(f"{path} cannot be read as C3D ({error}); use an intact file") from error
    if unit not in _METRES_PER_WORD:
        raise SourceError(f"{path} states the unit {unit!r}; known are {', '.join(_METRES_PER_WORD)}")
    chosen = list(markers) if markers is not None else labels
    missing = [name for name in chosen if name not in labels]
    if missing or not chosen:
        raise SourceError(
            f"{path} has no marker {', '.join(missing) or 'at all'}; it has {', '.join(labels) or 'none'}"
        )
    poses = points[:3, [labels.index(name) for name in chosen]].transpose(2, 1, 0) * _METRES_PER_WORD[unit]
    return checked(
        path, name=Path(path).stem, poses=poses.astype(np.float32), joints=chosen, rate_hz=rate_hz, subject=subject
    )

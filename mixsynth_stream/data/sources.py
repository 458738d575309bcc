"""Sources: which sources clips are from, how much each has, under which licence, and how often training draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.errors import SourceError

_NOT_STATED = "not stated"


def source_factors(clips: Sequence[Clip], weights: Mapping[str, float]) -> np.ndarray:  # [C]
    """The factor of every clip. `SourceError` for a source that no clip is of, `ValueError` where nothing is left."""
    sources = sorted({clip.source for clip in clips})
    unknown = [name for name in weights if name not in sources]
    if unknown:
        raise SourceError(f"no clip is of the source {unknown[0]!r} to weigh; the clips are of {_names(sources)}")
    factors = np.array([weights.get(clip.source, 1.0) for clip in clips])
    if not factors.any():
        raise ValueError(f"all sources have the weight 0 ({_names(sources)}); give one of them more")
    return factors


def source_rows(clips: Sequence[Clip], chances: np.ndarray | None = None) -> list[list[str]]:
    """A row a source, the longest first, under a heading; with `chances` [C] the share of windows that is from it."""
    rows = [["source", "clips", "people", "minutes", *(["windows"] if chances is not None else []), "licence"]]
    minutes = np.array([len(clip.positions) / clip.rate_hz / 60 for clip in clips])
    names = np.array([clip.source for clip in clips])
    for name in sorted(set(names), key=lambda name: (-float(minutes[names == name].sum()), name)):
        members = np.flatnonzero(names == name).tolist()
        people = len({clips[number].subject for number in members})
        share = [] if chances is None else [f"{100 * chances[members].sum():.1f} %"]
        numbers = [str(len(members)), str(people), f"{minutes[members].sum():.1f}"]
        rows.append([str(name) or _NOT_STATED, *numbers, *share, licences([clips[number] for number in members])])
    return rows


def licences(clips: Sequence[Clip]) -> str:
    """All licences that these clips state."""
    return "; ".join(sorted({clip.licence or _NOT_STATED for clip in clips}))


def _names(sources: Sequence[str]) -> str:
    return ", ".join(name or "no stated source" for name in sources)

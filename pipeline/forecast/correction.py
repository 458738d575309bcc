"""Correction: how the pose shown now goes over to a new one, where a keyframe's answer would make it jump."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mixsynth_stream.normalise import scale_of, whole_pose
from mixsynth_stream.spaces import SPACES, Space

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.people import ScenePoses

# A person's own speed is taken over so long.
SPEED_OVER_S = 0.1
# The pose shown goes over to the new one with so many times the person's own speed, and at least so fast: body scales
# a second. It never takes longer than `_LONGEST_S`. `bench live` prints what that costs and what it saves.
_OF_SPEED = 3.0
_LEAST_SPEED = 0.3
_LONGEST_S = 0.08
_ARRAYS = ("poses", "world")


class _Offset(NamedTuple):
    """What the pose of one person that was shown was off from the new one, and how long it takes to fade."""

    lasts_s: float
    arrays: dict[str, np.ndarray]  # [J, D]


@dataclass(frozen=True)
class Correction:
    """Offsets by id that are whole at `since_s` and fade from there. It is immutable."""

    since_s: float
    offsets: Mapping[int, _Offset]

    def added_to(self, poses: ScenePoses, times: np.ndarray) -> ScenePoses:  # [M] seconds
        """The poses [P, M, ...] as they are shown. Those up to `since_s` stay."""
        late_s = times - self.since_s
        is_late = late_s > 0
        if not is_late.any():
            return poses
        soonest_s = late_s[is_late].min()
        lasts_s = {person: offset.lasts_s for person, offset in self.offsets.items()}
        rows = [p for p, person in enumerate(poses.ids.tolist()) if lasts_s.get(person, 0.0) > soonest_s]
        if not rows:
            return poses
        arrays = {name: getattr(poses, name).copy() for name in _ARRAYS}
        for p in rows:
            offset = self.offsets[int(poses.ids[p])]
            share = np.where(is_late, np.maximum(1.0 - late_s / offset.lasts_s, 0.0), 0.0)
            for name, values in arrays.items():
                values[p] += share[:, None, None] * offset.arrays[name]
        return replace(poses, **arrays)


def correction(
    since_s: float,
    shown: ScenePoses,  # at [since_s], as they were shown
    known: ScenePoses,  # at [since_s - SPEED_OVER_S, since_s], as they are known now
    space: Space = SPACES["image"],  # of their image poses
) -> Correction | None:
    """What leads from one to the other; None where nobody's pose jumps."""
    offsets = {}
    row_of = {person: p for p, person in enumerate(shown.ids.tolist())}
    for p, person in enumerate(known.ids.tolist()):
        if person not in row_of:
            continue
        before, after = known.poses[p]
        row = row_of[person]
        off = {name: _or_zero(getattr(shown, name)[row, 0] - getattr(known, name)[p, 1]) for name in _ARRAYS}
        jump = _mean_length(off["poses"].take(space.own_core, axis=0))
        speed = _mean_length((after - before).take(space.own_core, axis=0)) / SPEED_OVER_S
        scale = float(_or_zero(scale_of(whole_pose(space.core_of(after)))))
        allowed = _OF_SPEED * speed + _LEAST_SPEED * max(scale, 1.0)
        lasts_s = float(min(jump / allowed, _LONGEST_S))
        if lasts_s > 0:
            offsets[person] = _Offset(lasts_s, off)
    return Correction(since_s, offsets) if offsets else None


def _mean_length(vectors: np.ndarray) -> float:  # [C, D]
    """The mean of their lengths, of which those that are not known count 0; numpy's `norm` and `mean` take long."""
    lengths = _or_zero(np.sqrt(np.add.reduce(vectors * vectors, axis=-1)))
    return float(np.add.reduce(lengths)) / len(lengths)


def _or_zero(values: np.ndarray) -> np.ndarray:
    """The values, 0 instead of NaN; `np.nan_to_num` takes three times as long."""
    return np.where(np.isnan(values), 0.0, values)

"""The points of a body that a glance follows: along the limbs, over the torso and around the nose."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from mixsynth_stream.skeleton import CORE_17

# By name, because the extension has no types.
native: Any = importlib.import_module("mixsynth_stream._C")

_ALONG_LIMB = 4  # points from joint to joint, both included
_ALONG_HAND = 2  # hands and feet are small
# Of the rows beside the middle of a limb, in body scales: inside most arms, because the background moves otherwise.
_BESIDE = 0.035
_ACROSS_TORSO = 4
_AROUND_NOSE = 0.1  # body scales

_LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
_ENDS = (("wrist", "index"), ("ankle", "foot_index"))


def body_points() -> tuple[np.ndarray, np.ndarray]:
    """`indices` [K, 4] and `numbers` [K, 7] of `_C.Body`, for the joints of the network."""
    rows = [row for side in ("left", "right") for row in _side(side)]
    corners = [CORE_17.index(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")]
    rows += [
        (corners, [(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v, 0.0, 0.0, 0.0])
        for u in np.linspace(0.0, 1.0, _ACROSS_TORSO)
        for v in np.linspace(0.1, 0.9, _ACROSS_TORSO)
    ]
    nose = CORE_17.index("nose")
    rows += [
        ([nose, 0, 0, 0], [1.0, 0.0, 0.0, 0.0, 0.0, _AROUND_NOSE * right, _AROUND_NOSE * down])
        for right, down in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    ]
    return np.array([indices for indices, _ in rows], np.int32), np.array([numbers for _, numbers in rows], np.float32)


def _side(side: str) -> Iterator[tuple[list[int], list[float]]]:
    """Joints and numbers of the points of an arm and a leg."""
    for pair in _LIMBS:
        for share in np.linspace(0.0, 1.0, _ALONG_LIMB):
            for beside in (-_BESIDE, 0.0, _BESIDE):
                yield _between(side, pair, float(share), beside)
    for pair in _ENDS:
        # The tips of hands and feet are the background's as often as their own.
        for i in range(_ALONG_HAND):
            yield _between(side, pair, (i + 0.5) / _ALONG_HAND, 0.0)


def _between(side: str, pair: tuple[str, str], share: float, beside: float) -> tuple[list[int], list[float]]:
    first, second = (CORE_17.index(f"{side}_{joint}") for joint in pair)
    return [first, second, 0, 0], [1.0 - share, share, 0.0, 0.0, beside, 0.0, 0.0]


@lru_cache(maxsize=1)
def body() -> Any:  # _C.Body
    """The body of the network's joints."""
    return native.Body(len(CORE_17), *body_points())

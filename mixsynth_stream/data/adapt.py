"""Poses of one skeleton as poses of another, where that is honest: every joint of the target has a source.

A joint of the target is the source's joint of the same name, or a weighted mean of the source's joints (FORMULAS), or,
for the nose of motion capture, `core_from_mocap`. A pair that lacks a joint is refused: eyes are not guessed from a
head, fingers not from a wrist, the top of a head not from a nose. To compare two skeletons that cannot be turned into
one another, take the joints that they share (`shared_joints`).

| from | to | how |
| --- | --- | --- |
| BlazePose-33 | COCO-17, Core-17 | joints of the same name |
| H36M-17 | J14 | joints of the same name; neck is the thorax, the top of the head is the head (as 3DPW is compared) |
| Mocap-22 | Core-17 | index = hand, foot index = toe, nose from the head |
| Mocap-22 | J14 | joints of the same name; the top of the head is the head's tip |
| Mocap-22 | H36M-17 | the spine is the chest, the thorax the neck's base, the neck half way from it to the head's tip |

The spine of Mocap-22 as H36M-17 is good to some centimetres only: each rig puts its spine elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mixsynth_stream.data.mocap import core_from_mocap
from mixsynth_stream.skeleton import BLAZEPOSE_33, COCO_17, CORE_17, H36M_17, J14, MOCAP_22, SKELETONS, Skeleton

# The skeletons that have something to give or to take.
ADAPTED = tuple(s.name for s in (MOCAP_22, BLAZEPOSE_33, COCO_17, H36M_17, J14, CORE_17))
# (from, to) -> joint of the target -> shares of the source's joints. Joints of the same name need no line.
FORMULAS: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]] = {
    ("H36M-17", "J14"): {"neck": {"thorax": 1.0}, "head_top": {"head": 1.0}},
    ("Mocap-22", "J14"): {"head_top": {"headtip": 1.0}},
    # Human3.6M's own rig: hips to spine 233 mm, spine to thorax 257, thorax to neck 121, neck to the top 115.
    ("Mocap-22", "H36M-17"): {
        "spine": {"chest": 1.0}, "thorax": {"neck": 1.0}, "neck": {"neck": 0.49, "headtip": 0.51},
        "head": {"headtip": 1.0},
    },
}  # fmt: skip
_WHOLE: Mapping[tuple[str, str], Callable[[np.ndarray], np.ndarray]] = {("Mocap-22", "Core-17"): core_from_mocap}
# Joints whose names agree and whose places do not: the same name is no source here.
_FALSE_FRIENDS = {
    ("H36M-17", "J14"): {"neck"}, ("J14", "H36M-17"): {"neck"}, ("Mocap-22", "H36M-17"): {"spine", "neck", "head"},
    ("H36M-17", "Mocap-22"): {"spine", "neck", "head"},
}  # fmt: skip


def adapt(
    poses: np.ndarray,  # [..., J of source, D]
    source: str,
    target: str,
) -> np.ndarray:  # [..., J of target, D]
    """Poses of `source` as poses of `target`. `ValueError` where a joint would have to be invented, which it names."""
    have, want = _skeleton(source), _skeleton(target)
    if poses.ndim < 2 or poses.shape[-2] != len(have):
        raise ValueError(f"poses of {source} must be [..., {len(have)}, D], found {list(poses.shape)}")
    if source == target:
        return poses.copy()
    if (source, target) in _WHOLE:
        if poses.shape[-1] != 3:
            raise ValueError(f"{source} to {target} needs poses in space, D = 3, found D = {poses.shape[-1]}")
        flat = _WHOLE[source, target](poses.reshape(-1, len(have), 3))
        return flat.reshape(*poses.shape[:-2], len(want), 3)
    return np.asarray(np.einsum("kj,...jd->...kd", _weights(have, want), poses).astype(poses.dtype))


def targets_of(source: str) -> list[str]:
    """Skeletons that `source` can be turned into, itself apart."""
    have = _skeleton(source)
    targets = (name for name in ADAPTED if name != source)
    return [name for name in targets if (source, name) in _WHOLE or not _missing(have, SKELETONS[name])]


def shared_joints(first: str, second: str) -> tuple[list[str], list[int], list[int]]:
    """Joints that mean the same in both: their names, their numbers in `first`, and in `second`."""
    a, b = _skeleton(first), _skeleton(second)
    differ = _FALSE_FRIENDS.get((first, second), set()) | _FALSE_FRIENDS.get((second, first), set())
    names = [name for name in a.joints if name in b.joints and name not in differ]
    return names, [a.index(name) for name in names], [b.index(name) for name in names]


def _skeleton(name: str) -> Skeleton:
    if name not in ADAPTED:
        raise ValueError(f"skeleton must be one of {', '.join(ADAPTED)}, found {name!r}")
    return SKELETONS[name]


def _source_of(joint: str, have: Skeleton, want: Skeleton) -> Mapping[str, float] | None:
    formula = FORMULAS.get((have.name, want.name), {}).get(joint)
    if formula is not None:
        return formula
    named_alike = joint in have.joints and joint not in _FALSE_FRIENDS.get((have.name, want.name), set())
    return {joint: 1.0} if named_alike else None


def _missing(have: Skeleton, want: Skeleton) -> list[str]:
    return [joint for joint in want.joints if _source_of(joint, have, want) is None]


def _weights(have: Skeleton, want: Skeleton) -> np.ndarray:  # [J of target, J of source]
    missing = _missing(have, want)
    if missing:
        listed = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        possible = ", ".join(targets_of(have.name)) or "nothing else"
        raise ValueError(f"{have.name} has no {listed}, so it cannot be turned into {want.name}; it can be turned into "
                         f"{possible}, or compared on the joints that both have")  # fmt: skip
    weights = np.zeros((len(want), len(have)))
    for row, joint in enumerate(want.joints):
        for name, share in (_source_of(joint, have, want) or {}).items():
            weights[row, have.index(name)] = share
    return weights

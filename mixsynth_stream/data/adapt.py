"""Adapt: poses of one skeleton as poses of another, wherever every joint of the target has a source.

A joint of the target is the source's joint of the same name, or a weighted mean of the source's joints (FORMULAS); the
nose of motion capture comes from `core_from_mocap`. A pair that lacks a joint is refused: eyes are not guessed from a
head, fingers not from a wrist, the top of a head not from a nose. Two skeletons that cannot be turned into one another
can still be compared on the joints that they share (`shared_joints`).

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

# The skeletons that can be a source or a target.
ADAPTED = tuple(s.name for s in (MOCAP_22, BLAZEPOSE_33, COCO_17, H36M_17, J14, CORE_17))
# (from, to) -> joint of the target -> shares of the source's joints. Joints of the same name need no line.
FORMULAS: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]] = {
    ("H36M-17", "J14"): {"neck": {"thorax": 1.0}, "head_top": {"head": 1.0}},
    ("Mocap-22", "J14"): {"head_top": {"headtip": 1.0}},
    # Human3.6M's own rig: hips to spine 233 mm, spine to thorax 257, thorax to neck 121, neck to the top 115.
    ("Mocap-22", "H36M-17"): {
        "spine": {"chest": 1.0},
        "thorax": {"neck": 1.0},
        "neck": {"neck": 0.49, "headtip": 0.51},
        "head": {"headtip": 1.0},
    },
}
# Pairs that need more than a weighted mean of joints.
_WHOLE: Mapping[tuple[str, str], Callable[[np.ndarray], np.ndarray]] = {("Mocap-22", "Core-17"): core_from_mocap}
# Joints with the same name in another place: the name alone does not make them a source.
_FALSE_FRIENDS = {
    ("H36M-17", "J14"): {"neck"},
    ("J14", "H36M-17"): {"neck"},
    ("Mocap-22", "H36M-17"): {"spine", "neck", "head"},
    ("H36M-17", "Mocap-22"): {"spine", "neck", "head"},
}


def adapt(
    poses: np.ndarray,  # [..., J of source, D]
    source: str,
    target: str,
) -> np.ndarray:  # [..., J of target, D]
    """Poses of `source` as poses of `target`. `ValueError` names the joints that have no source."""
    source_skeleton, target_skeleton = _skeleton(source), _skeleton(target)
    joints = len(source_skeleton)
    if poses.ndim < 2 or poses.shape[-2] != joints:
        raise ValueError(f"poses of {source} must be [..., {joints}, D], found {list(poses.shape)}")
    if source == target:
        return poses.copy()
    if (source, target) in _WHOLE:
        if poses.shape[-1] != 3:
            raise ValueError(f"{source} to {target} needs poses in space, D = 3, found D = {poses.shape[-1]}")
        flat = _WHOLE[source, target](poses.reshape(-1, joints, 3))
        return flat.reshape(*poses.shape[:-2], len(target_skeleton), 3)
    shares = _source_shares(source_skeleton, target_skeleton)
    return np.asarray(np.einsum("kj,...jd->...kd", shares, poses).astype(poses.dtype))


def targets_of(source: str) -> list[str]:
    """Other skeletons that `source` can be turned into."""
    skeleton = _skeleton(source)
    others = (name for name in ADAPTED if name != source)
    return [name for name in others if (source, name) in _WHOLE or not _missing(skeleton, SKELETONS[name])]


def shared_joints(first: str, second: str) -> tuple[list[str], list[int], list[int]]:
    """Joints that are the same in both: their names, their indices in `first`, and in `second`."""
    a, b = _skeleton(first), _skeleton(second)
    false_friends = _FALSE_FRIENDS.get((first, second), set()) | _FALSE_FRIENDS.get((second, first), set())
    names = [name for name in a.joints if name in b.joints and name not in false_friends]
    return names, [a.index(name) for name in names], [b.index(name) for name in names]


def _skeleton(name: str) -> Skeleton:
    if name not in ADAPTED:
        raise ValueError(f"skeleton must be one of {', '.join(ADAPTED)}, found {name!r}")
    return SKELETONS[name]


def _source_of(joint: str, source: Skeleton, target: Skeleton) -> Mapping[str, float] | None:
    formula = FORMULAS.get((source.name, target.name), {}).get(joint)
    if formula is not None:
        return formula
    is_same = joint in source.joints and joint not in _FALSE_FRIENDS.get((source.name, target.name), set())
    return {joint: 1.0} if is_same else None


def _missing(source: Skeleton, target: Skeleton) -> list[str]:
    return [joint for joint in target.joints if _source_of(joint, source, target) is None]


def _source_shares(source: Skeleton, target: Skeleton) -> np.ndarray:  # [J of target, J of source]
    missing = _missing(source, target)
    if missing:
        names = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        choices = ", ".join(targets_of(source.name)) or "nothing else"
        raise ValueError(
            f"{source.name} has no {names}, so it cannot be turned into {target.name}; it can be turned into "
            f"{choices}, or compared on the joints that both have"
        )
    shares = np.zeros((len(target), len(source)))
    for row, joint in enumerate(target.joints):
        for name, share in (_source_of(joint, source, target) or {}).items():
            shares[row, source.index(name)] = share
    return shares

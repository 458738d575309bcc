"""BVH files (Biovision hierarchy): skeleton and angles in, joint positions in metres out.

Convention (Meredith and Maddock, "Motion capture file formats explained", 2001): a joint's rotation is the product of
its channels in the order of the file, degrees; position channels replace the joint's OFFSET. An End Site is the joint
`NAME_end`. A file does not state its unit, so the caller does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mixsynth_stream.data.sequences import METRES_PER_UNIT, PoseSequence, checked, read_text
from mixsynth_stream.errors import SourceError
from mixsynth_stream.rotations import euler_to_matrix

_CHANNELS = {f"{axis}{kind}" for axis in "xyz" for kind in ("position", "rotation")}


@dataclass
class _Joint:
    name: str
    parent: int
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    channels: tuple[str, ...] = ()


def read_bvh(path: str | Path, unit: str = "metres", subject: str = "") -> PoseSequence:
    """All joints of a BVH file, root first. `SourceError` says which line or number does not fit."""
    if unit not in METRES_PER_UNIT:
        raise ValueError(f"unit must be one of {', '.join(METRES_PER_UNIT)}, found {unit!r}")
    head, separator, tail = read_text(path).partition("MOTION")
    if not separator:
        raise SourceError(f"{path} has no MOTION section; it is no BVH file, or truncated")
    joints = _hierarchy(path, head.split())
    angles, rate_hz = _motion(path, tail.split(), sum(len(joint.channels) for joint in joints))
    positions = _positions(joints, angles) * METRES_PER_UNIT[unit]
    names = [joint.name for joint in joints]
    return checked(
        path, name=Path(path).stem, poses=positions.astype(np.float32), joints=names, rate_hz=rate_hz, subject=subject
    )


def _hierarchy(path: str | Path, words: list[str]) -> list[_Joint]:
    joints: list[_Joint] = []
    open_joints: list[int] = []
    position = 0

    def take(count: int) -> list[str]:
        nonlocal position
        position += count
        if position > len(words):
            raise SourceError(
                f"{path} breaks off within the hierarchy, after {joints[-1].name if joints else 'nothing'}"
            )
        return words[position - count : position]

    try:
        while position < len(words):
            word = take(1)[0]
            if word in ("ROOT", "JOINT"):
                joints.append(_Joint(take(1)[0], open_joints[-1] if open_joints else -1))
            elif word == "End":
                take(1)
                joints.append(_Joint(f"{joints[open_joints[-1]].name}_end", open_joints[-1]))
            elif word == "{":
                open_joints.append(len(joints) - 1)
            elif word == "}":
                open_joints.pop()
            elif word == "OFFSET":
                joints[-1].offset = np.array([float(number) for number in take(3)])
            elif word == "CHANNELS":
                channels = tuple(name.lower() for name in take(int(take(1)[0])))
                if not set(channels) <= _CHANNELS:
                    raise SourceError(
                        f"{path}: joint {joints[-1].name} has channels {', '.join(channels)}; positions "
                        "and rotations about x, y and z are known"
                    )
                joints[-1].channels = channels
            elif word != "HIERARCHY":
                raise SourceError(f"{path}: {word!r} is not expected in the hierarchy of a BVH file")
    except (ValueError, IndexError) as error:
        raise SourceError(f"{path}: the hierarchy is damaged near word {position} ({error})") from error
    if not joints or open_joints:
        raise SourceError(f"{path}: the hierarchy has {len(joints)} joints and {len(open_joints)} that are not closed")
    return joints


def _motion(path: str | Path, words: list[str], width: int) -> tuple[np.ndarray, float]:
    """Numbers [T, channels] and the rate."""
    try:
        count, interval = int(words[words.index("Frames:") + 1]), float(words[words.index("Time:") + 1])
        numbers = np.array(words[words.index("Time:") + 2 :], np.float64)
    except (ValueError, IndexError) as error:
        raise SourceError(
            f"{path}: the MOTION section is damaged ({error}); it needs Frames:, Frame Time:, numbers"
        ) from error
    if not interval > 0:
        raise SourceError(f"{path} has a frame time of {interval:g} s; expected a positive one")
    if numbers.size != count * width:
        raise SourceError(
            f"{path} promises {count} frames of {width} channels, {count * width} numbers, and holds "
            f"{numbers.size}; it is truncated or ragged"
        )
    return numbers.reshape(count, width), 1 / interval


def _positions(joints: list[_Joint], numbers: np.ndarray) -> np.ndarray:  # [T, channels] -> [T, J, 3]
    positions = np.zeros((len(numbers), len(joints), 3))
    rotations = np.broadcast_to(np.eye(3), (len(numbers), len(joints), 3, 3)).copy()
    first = 0
    for index, joint in enumerate(joints):
        values = numbers[:, first : first + len(joint.channels)]
        first += len(joint.channels)
        local = np.repeat(joint.offset[None], len(numbers), axis=0)
        angles = [n for n, channel in enumerate(joint.channels) if channel.endswith("rotation")]
        for n, channel in enumerate(joint.channels):
            if channel.endswith("position"):
                local[:, "xyz".index(channel[0])] = values[:, n]
        rotation = euler_to_matrix(np.radians(values[:, angles]), "".join(joint.channels[n][0] for n in angles))
        if joint.parent < 0:
            positions[:, index], rotations[:, index] = local, rotation
        else:
            offset = (rotations[:, joint.parent] @ local[..., None])[..., 0]
            positions[:, index] = positions[:, joint.parent] + offset
            rotations[:, index] = rotations[:, joint.parent] @ rotation
    return positions

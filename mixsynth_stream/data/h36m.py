"""Human3.6M exponential maps (`h3.6m/dataset/S*/*.txt`) and the short-term prediction protocol on them.

A line has 99 numbers: the position of the root, its rotation, and the rotations of 31 joints against their parents, as
axis-angle vectors, at 50 Hz. Protocol: every second frame (25 Hz); position and rotation of the root set to zero;
forward kinematics with one skeleton for everybody to 32 joints in millimetres; 10 frames in, 10 frames predicted;
subject 5 tests, subject 11 validates, the others train. Ten joints never move or repeat another one: the network runs
on the other 22, and errors are averaged over all 32.
Source of the skeleton and its use: Martinez et al. (CVPR 2017) and Mao et al. (ICCV 2019).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixsynth_stream.data.sequences import PoseSequence, checked, read_rows
from mixsynth_stream.errors import SourceError
from mixsynth_stream.rotations import axis_angle_to_matrix

RATE_HZ = 50.0
PROTOCOL_RATE_HZ = 25.0
SPLITS = {"train": ("S1", "S6", "S7", "S8", "S9"), "validation": ("S11",), "test": ("S5",)}
NUMBERS = 99
# fmt: off
JOINTS_32 = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "right_foot", "right_toe", "left_hip", "left_knee",
    "left_ankle", "left_foot", "left_toe", "spine_base", "spine", "neck", "head", "head_top", "left_collar",
    "left_shoulder", "left_elbow", "left_wrist", "left_hand", "left_thumb", "left_palm", "left_fingers",
    "right_collar", "right_shoulder", "right_elbow", "right_wrist", "right_hand", "right_thumb", "right_palm",
    "right_fingers",
)
PARENTS = (-1, 0, 1, 2, 3, 4, 0, 6, 7, 8, 9, 0, 11, 12, 13, 14, 12, 16, 17, 18, 19, 20, 19, 22, 12, 24, 25, 26, 27, 28,
           27, 30)
# Joint -> axis and length of its offset from the parent, millimetres; the others lie on their parent.
_OFFSET_MM = {
    1: (0, -132.948591), 2: (1, -442.894612), 3: (1, -454.206447), 4: (2, 162.767078), 5: (2, 74.999437),
    6: (0, 132.948826), 7: (1, -442.894413), 8: (1, -454.206590), 9: (2, 162.767426), 10: (2, 74.999948), 11: (1, 0.1),
    12: (1, 233.383263), 13: (1, 257.077681), 14: (1, 121.134938), 15: (1, 115.002227), 16: (1, 257.077681),
    17: (1, 151.034226), 18: (1, 278.882773), 19: (1, 251.733451), 21: (2, 99.999627), 22: (1, 100.000188),
    24: (1, 257.077681), 25: (1, 151.031437), 26: (1, 278.892924), 27: (1, 251.728680), 29: (2, 99.999888),
    30: (1, 137.499922),
}
# fmt: on
# Without the root's rotation, the hips and the spine's base never move.
STILL = (0, 1, 6, 11)
# Joints that always lie on another one.
TWIN = {16: 13, 20: 19, 23: 22, 24: 13, 28: 27, 31: 30}
MOVING = tuple(j for j in range(32) if j not in STILL and j not in TWIN)


def joints_from_expmap(
    numbers: np.ndarray,  # [T, 99]
    keep_root: bool = False,
) -> np.ndarray:  # [T, 32, 3] millimetres
    """Forward kinematics. Position and rotation of the root are zero unless `keep_root`."""
    if numbers.ndim != 2 or numbers.shape[1] != NUMBERS:
        raise ValueError(f"exponential maps must be [T, {NUMBERS}], found {list(numbers.shape)}")
    numbers = np.asarray(numbers, np.float64)
    if not keep_root:
        numbers = np.concatenate([np.zeros((len(numbers), 6)), numbers[:, 6:]], axis=1)
    # The files' convention: row vectors, times the matrix of the joint, times those of its ancestors.
    local = axis_angle_to_matrix(numbers[:, 3:].reshape(-1, 32, 3))
    offsets = np.zeros((32, 3))
    for joint, (axis, length) in _OFFSET_MM.items():
        offsets[joint, axis] = length
    rotations, positions = [local[:, 0]], [numbers[:, :3]]
    for joint in range(1, 32):
        parent = PARENTS[joint]
        positions.append(positions[parent] + offsets[joint] @ rotations[parent])
        rotations.append(local[:, joint] @ rotations[parent])
    return np.stack(positions, axis=1)


def all_joints(moving: np.ndarray) -> np.ndarray:  # [..., 22, 3] -> [..., 32, 3] millimetres
    """All joints from the 22 that the network predicts: the others stand still or lie on their twin."""
    joints = np.empty((*moving.shape[:-2], 32, 3), moving.dtype)
    joints[..., MOVING, :] = moving
    joints[..., STILL, :] = joints_from_expmap(np.zeros((1, NUMBERS)))[0, STILL, :]
    for joint, twin in TWIN.items():
        joints[..., joint, :] = joints[..., twin, :]
    return joints


def read_expmap(path: str | Path) -> PoseSequence:
    """One file at 50 Hz: 32 joints in millimetres, without position and rotation of the root. Raises `SourceError`."""
    numbers = read_rows(path, NUMBERS, "position, rotation, and 31 joints as exponential maps")
    # Infinity counts as NaN, not as a rotation that is too large, so that `checked` names its frames.
    numbers[np.isinf(numbers)] = np.nan
    largest = float(np.abs(numbers[:, 6:]).max(initial=0))
    if largest > 4 * np.pi:
        raise SourceError(f"{path} holds rotations of up to {largest:.3g}, expected radians; are these degrees?")
    poses, subject = joints_from_expmap(numbers), Path(path).parent.name
    name = f"{subject}/{Path(path).stem}"
    return checked(path, name=name, poses=poses, joints=JOINTS_32, rate_hz=RATE_HZ, subject=subject)


def load_split(folder: str | Path, split: str) -> list[PoseSequence]:
    """Every file of the split's subjects: the 22 joints that move, in metres, at 25 Hz.

    `folder` is `h3.6m`, `h3.6m/dataset`, or a folder that holds `h3.6m`. `SourceError` where a subject is missing.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, found {split!r}")
    root, stride = _dataset(Path(folder)), round(RATE_HZ / PROTOCOL_RATE_HZ)
    joints = [JOINTS_32[j] for j in MOVING]
    sequences = []
    for subject in SPLITS[split]:
        files = sorted((root / subject).glob("*.txt"))
        if not files:
            raise SourceError(
                f"{root / subject} holds no .txt files; the {split} split needs {', '.join(SPLITS[split])}"
            )
        for path in files:
            whole = read_expmap(path)
            poses, rate_hz = whole.poses[::stride][:, MOVING] / 1000, PROTOCOL_RATE_HZ
            sequences.append(
                checked(path, name=whole.name, poses=poses, joints=joints, rate_hz=rate_hz, subject=subject)
            )
    return sequences


def _dataset(folder: Path) -> Path:
    for inside in ("", "dataset", "h3.6m/dataset"):
        if (folder / inside / "S5").is_dir():
            return folder / inside
    raise SourceError(f"{folder} holds no h3.6m/dataset/S5; give the folder into which h3.6m.zip was unpacked")

"""Skeletons: joint names as their owners write them, bones to draw, and the joints that the network runs on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """A named, ordered set of joints. `bones` are pairs of joint indices."""

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Index of a joint by name; `ValueError` lists the choices."""
        if joint not in self.joints:
            raise ValueError(f"{self.name} has no joint {joint!r}; it has {', '.join(self.joints)}")
        return self.joints.index(joint)

    @property
    def mirror(self) -> tuple[int, ...]:
        """For each joint the index of the same joint on the other side of the body."""
        return tuple(self.joints.index(_other_side(name)) for name in self.joints)

    def side(self, joint: int) -> str:
        """'left', 'right' or 'middle'."""
        words = self.joints[joint].split("_")
        return next((w for w in ("left", "right") if w in words), "middle")


def split_joint(joint: str) -> tuple[str, str]:
    """Side and body part: `left_foot_index` is ("left", "foot_index"), a joint of the middle has the side ""."""
    side, _, part = joint.partition("_")
    return (side, part) if side in ("left", "right") else ("", joint)


def body_part(joint: str) -> str:
    """The joint without its side: `wrist` for `left_wrist`."""
    return split_joint(joint)[1]


def _other_side(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(word, word) for word in name.split("_"))


# fmt: off
# Names: MediaPipe Pose landmark documentation.
BLAZEPOSE_33 = Skeleton(
    "BlazePose-33",
    (
        "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
        "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index",
        "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "left_heel", "right_heel", "left_foot_index", "right_foot_index",
    ),
    (
        (0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12), (11, 13), (13, 15),
        (15, 17), (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20),
        (11, 23), (12, 24), (23, 24), (23, 25), (24, 26), (25, 27), (26, 28), (27, 29), (28, 30), (29, 31),
        (30, 32), (27, 31), (28, 32),
    ),
)

# The BlazePose landmarks that the network runs on, in BlazePose order.
CORE_FROM_BLAZEPOSE: tuple[int, ...] = (0, 11, 12, 13, 14, 15, 16, 19, 20, 23, 24, 25, 26, 27, 28, 31, 32)

CORE_17 = Skeleton(
    "Core-17",
    tuple(BLAZEPOSE_33.joints[j] for j in CORE_FROM_BLAZEPOSE),
    (
        (0, 1), (0, 2), (1, 2), (1, 3), (3, 5), (5, 7), (2, 4), (4, 6), (6, 8), (1, 9), (2, 10), (9, 10), (9, 11),
        (11, 13), (13, 15), (10, 12), (12, 14), (14, 16),
    ),
)

# Order: the COCO keypoint annotation.
COCO_17 = Skeleton(
    "COCO-17",
    (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
        "right_ankle",
    ),
    (
        (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13),
        (13, 15), (12, 14), (14, 16),
    ),
)
# Order: the annotation of the JHMDB data set.
JHMDB_15 = Skeleton("JHMDB-15", (
    "neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow",
    "right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle",
), ())
# Order: the 17 of Human3.6M's 32 joints that move, as VideoPose3D lists them.
H36M_17 = Skeleton("H36M-17", (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax",
    "neck", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
), ())
# Order: the 14 joints of LSP, on which SPIN, EFT and PARE are compared.
J14 = Skeleton("J14", (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
), ())
# Order: the SMPL body model.
SMPL_24 = Skeleton("SMPL-24", (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
), ())
# Order: the files of motion capture that we train on. `head` is the skull's centre or between the eyes, by file.
MOCAP_22 = Skeleton("Mocap-22", (
    "pelvis", "spine", "chest", "neck", "head", "headtip", "left_shoulder", "left_elbow", "left_wrist", "left_hand",
    "right_shoulder", "right_elbow", "right_wrist", "right_hand", "left_hip", "left_knee", "left_ankle", "left_toe",
    "right_hip", "right_knee", "right_ankle", "right_toe",
), ())
# Order: Human3.6M's 32 joints without the ten that never move or lie on another one (data/h36m.py).
H36M_22 = Skeleton("H36M-22", (
    "right_knee", "right_ankle", "right_foot", "right_toe", "left_knee", "left_ankle", "left_foot", "left_toe", "spine",
    "neck", "head", "head_top", "left_shoulder", "left_elbow", "left_wrist", "left_thumb", "left_palm",
    "right_shoulder", "right_elbow", "right_wrist", "right_thumb", "right_palm",
), ())
# fmt: on

# For each BlazePose landmark: the core joint whose offset it keeps (core joints carry themselves).
# Face -> nose; little finger -> index finger; thumb -> wrist; heel -> ankle.
_CARRIED = {17: 19, 18: 20, 21: 15, 22: 16, 29: 27, 30: 28}
CARRIER: tuple[int, ...] = tuple(
    CORE_FROM_BLAZEPOSE.index(j if j in CORE_FROM_BLAZEPOSE else _CARRIED.get(j, 0)) for j in range(33)
)

SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (BLAZEPOSE_33, CORE_17, COCO_17, JHMDB_15, H36M_17, H36M_22, J14, SMPL_24, MOCAP_22)
}

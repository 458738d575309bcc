"""Skeletons: joint names as their owners write them, bones to draw, and the joints that the network runs on."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches


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
), (
    (0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (8, 11), (11, 12), (12, 13),
    (8, 14), (14, 15), (15, 16),
))
# Order: OpenPose's BODY_25.
BODY_25 = Skeleton("BODY-25", (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe",
    "right_heel",
), (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13),
    (13, 14), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24),
))
# Order: OpenPose's model of COCO, and what rtmlib makes of 17 joints with `to_openpose`.
OPENPOSE_18 = Skeleton("OpenPose-18", (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
), (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (0, 14), (14, 16), (0, 15), (15, 17),
))
# Order: AlphaPose's Halpe full body; its first 17 are those of COCO.
HALPE_26 = Skeleton("HALPE-26", (
    *COCO_17.joints, "head", "neck", "hip", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe",
    "left_heel", "right_heel",
), (
    (0, 1), (0, 2), (1, 3), (2, 4), (17, 18), (0, 18), (18, 5), (18, 6), (5, 7), (7, 9), (6, 8), (8, 10), (18, 19),
    (19, 11), (19, 12), (11, 13), (13, 15), (12, 14), (14, 16), (15, 20), (20, 22), (15, 24), (16, 21), (21, 23),
    (16, 25),
))
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

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_HAND = ("hand_root", *(f"{finger}{knuckle}" for finger in _FINGERS for knuckle in range(1, 5)))
# Bones of a hand, whose root is number 0.
_HAND_BONES = [(0 if j % 4 == 1 else j - 1, j) for j in range(1, len(_HAND))]
_LEFT_HAND, _RIGHT_HAND = 91, 112
# Order: the COCO-WholeBody annotation: COCO's 17, feet, face, hands.
WHOLEBODY_133 = Skeleton(
    "WholeBody-133",
    (
        *COCO_17.joints,
        *(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")),
        *(f"face_{number}" for number in range(68)),
        *(f"{side}_{part}" for side in ("left", "right") for part in _HAND),
    ),
    (
        *COCO_17.bones,
        *((15, 17), (17, 18), (15, 19), (16, 20), (20, 21), (16, 22), (9, _LEFT_HAND), (10, _RIGHT_HAND)),
        *((first + a, first + b) for first in (_LEFT_HAND, _RIGHT_HAND) for a, b in _HAND_BONES),
    ),
)

# Joints of the network under other names.
_CORE_PARTS = {"forefinger1": "index", "big_toe": "foot_index"}
# What the other joints of a body move with, by how their part begins: they keep their offset from it. The nose has no
# side, and what has none moves with both sides.
_CARRIED = (
    (("eye", "ear", "mouth", "face", "head"), ("nose",)),
    (("thumb", "hand_root"), ("wrist",)),
    (("pinky", "forefinger", "middle_finger", "ring_finger"), ("index",)),
    (("heel",), ("ankle",)),
    (("small_toe",), ("foot_index",)),
    (("neck", "thorax"), ("shoulder",)),
    (("hip", "mid_hip", "pelvis"), ("hip",)),
    (("spine",), ("shoulder", "hip")),
)


def core_joint(joint: str) -> str | None:
    """The joint of the network that a joint of a landmark skeleton is; None where it is none of them."""
    side, part = split_joint(joint)
    name = f"{side}_{_CORE_PARTS.get(part, part)}" if side else part
    return name if name in CORE_17.joints else None


def carriers_of(joint: str) -> tuple[str, ...]:
    """The joints of the network that a joint of a landmark skeleton moves with: itself, another one, or a middle."""
    own = core_joint(joint)
    if own is not None:
        return (own,)
    side, part = split_joint(joint)
    parts = next(carriers for beginnings, carriers in _CARRIED if part.startswith(beginnings))
    if parts == ("nose",):
        return parts
    return tuple(f"{one}_{part}" for part in parts for one in ([side] if side else ["left", "right"]))


SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        BLAZEPOSE_33,
        CORE_17,
        COCO_17,
        HALPE_26,
        BODY_25,
        OPENPOSE_18,
        WHOLEBODY_133,
        JHMDB_15,
        H36M_17,
        H36M_22,
        J14,
        SMPL_24,
        MOCAP_22,
    )
}

# The skeletons that an estimator of places may have.
LANDMARKS = (BLAZEPOSE_33, COCO_17, HALPE_26, BODY_25, OPENPOSE_18, H36M_17, WHOLEBODY_133)
# Other names of theirs, as `_plain` writes them.
_ALIASES = {
    "blazepose": BLAZEPOSE_33.name,
    "mediapipe": BLAZEPOSE_33.name,
    "coco": COCO_17.name,
    "movenet": COCO_17.name,
    "movenet17": COCO_17.name,
    "halpe": HALPE_26.name,
    "openpose": BODY_25.name,
    "coco18": OPENPOSE_18.name,
    "h36m": H36M_17.name,
    "human36m": H36M_17.name,
    "human36m17": H36M_17.name,
    "wholebody": WHOLEBODY_133.name,
    "cocowholebody": WHOLEBODY_133.name,
    "cocowholebody133": WHOLEBODY_133.name,
    "smpl": SMPL_24.name,
}


def named_skeleton(name: str, choices: tuple[Skeleton, ...]) -> Skeleton:
    """One of the `choices` by its name, however it is spelt: `coco_17`, `Halpe26`. `ValueError` lists them."""
    by_name = {_plain(skeleton.name): skeleton for skeleton in choices}
    plain = _plain(name)
    plain = _plain(_ALIASES.get(plain, plain))
    if plain in by_name:
        return by_name[plain]
    nearest = get_close_matches(_plain(name), by_name, 1, 0.5)
    hint = f" (do you mean {by_name[nearest[0]].name}?)" if nearest else ""
    names = ", ".join(skeleton.name for skeleton in choices)
    raise ValueError(f"the skeleton {name!r} is not known{hint}: give one of {names}")


def _plain(name: str) -> str:
    """The name in small letters, without anything else than letters and digits."""
    return "".join(letter for letter in name.lower() if letter.isalnum())

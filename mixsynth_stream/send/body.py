"""Body: how the bones of an avatar have to turn to stand as the 33 landmarks do.

Coordinates are those of Unity, left-handed: x right, y up, z forward. An avatar at rest stands as a T and looks along
z, so that its left hand is at -x. BlazePose has x right in the picture, y down and z away from the camera; with all
three negated, somebody who faces the camera looks along z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixsynth_stream.rotations import matrix_to_quaternion
from mixsynth_stream.skeleton import BLAZEPOSE_33

# Landmarks below this score are guesses, such as the legs of somebody behind a desk: their bones stay as they were.
SEEN = 0.3
# The hips above the floor until the feet were seen once.
_STANDING_M = 0.92
# How much the turn of a limb about itself in the frame before counts: it decides where nothing else does.
_BEFORE = 0.3
# An elbow or knee that is bent by more than these sines tells how the limb is turned about itself.
_STRAIGHT, _BENT = 0.15, 0.5


def _joints(*names: str) -> list[int]:
    return [BLAZEPOSE_33.index(name) for name in names]


_HIPS = _joints("left_hip", "right_hip")
_SHOULDERS = _joints("left_shoulder", "right_shoulder")
_EARS = _joints("left_ear", "right_ear")
_EYES = _joints("left_eye", "right_eye")
_FEET = _joints("left_heel", "right_heel", "left_foot_index", "right_foot_index", "left_ankle", "right_ankle")
# The limbs are in this order: left arm, right arm, left leg, right leg.
_ROOTS = _SHOULDERS + _HIPS
_BENDS = _joints("left_elbow", "right_elbow", "left_knee", "right_knee")
_ENDS = _joints("left_wrist", "right_wrist", "left_ankle", "right_ankle")
_INDEXES, _PINKIES = _joints("left_index", "right_index"), _joints("left_pinky", "right_pinky")
_HEELS, _TOES = _joints("left_heel", "right_heel"), _joints("left_foot_index", "right_foot_index")

# Of each limb at rest: where it leads, and where its far half goes when it bends.
_LIMB_DIRECTIONS = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, -1.0, 0.0]])
_LIMB_POLES = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, -1.0]])
_NEXT, _LAST = [1, 2, 0], [2, 0, 1]
_ACROSS, _AHEAD = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])

# The bones in the order of `BodyPose.frames`, each after the one that it hangs on.
BONES = (
    *("Hips", "Chest", "Head"),
    *("LeftUpperArm", "RightUpperArm", "LeftUpperLeg", "RightUpperLeg"),
    *("LeftLowerArm", "RightLowerArm", "LeftLowerLeg", "RightLowerLeg"),
    *("LeftHand", "RightHand", "LeftFoot", "RightFoot"),
)
_UPPER, _LOWER, _END = slice(3, 7), slice(7, 11), slice(11, 15)


@dataclass(frozen=True)
class BodyPose:
    """One person as an avatar stands."""

    frames: np.ndarray  # [15, 3, 3] how each of BONES is turned in the room
    turns: np.ndarray  # [15, 3, 3] the same from the bone that it hangs on; Chest from Hips, Head from Chest
    joints_m: np.ndarray  # [33, 3] the landmarks in the room
    hips_m: np.ndarray  # [3] the middle of the hips in the room, whose floor is at y = 0
    is_seen: np.ndarray  # [33] bool

    def quaternions(self) -> np.ndarray:  # -> [15, 4]
        """`turns` as unit quaternions x, y, z, w."""
        return matrix_to_quaternion(self.turns)


class Body:
    """Follows one person from frame to frame. What is not seen stays turned as it was, at first as at rest."""

    def __init__(self) -> None:
        self._turns = np.tile(np.eye(3), (len(BONES), 1, 1))
        self._poles = np.zeros((2, 4, 3))  # of the upper and the lower half of each limb, in the frame before
        self._sides = np.zeros((2, 3))  # x of the feet, in the frame before
        self._height_m = _STANDING_M

    def pose(
        self,
        world_m: np.ndarray,  # [33, 3] of BlazePose
        scores: np.ndarray,  # [33]
        aside_m: float = 0.0,  # how far right of the picture's middle they stand
    ) -> BodyPose:
        """Take the landmarks of the next frame."""
        is_seen = np.isfinite(world_m).all(axis=1) & (scores >= SEEN)
        joints = -np.nan_to_num(world_m)
        frames = np.empty((len(BONES), 3, 3))
        self._trunk(frames, joints, is_seen)
        self._limbs(frames, joints, is_seen)
        feet = [j for j in _FEET if is_seen[j]]
        if feet:
            self._height_m = float(joints[_HIPS, 1].mean() - joints[feet, 1].min())
        hips = np.array([-aside_m, self._height_m, 0.0])
        joints_m = joints + (hips - joints[_HIPS].mean(axis=0))
        return BodyPose(frames, self._turns.copy(), joints_m, hips, is_seen)

    def _trunk(self, frames: np.ndarray, joints: np.ndarray, is_seen: np.ndarray) -> None:
        """Hips and chest by the lines across them, the head by ears and eyes."""
        hips, shoulders = joints[_HIPS], joints[_SHOULDERS]
        up = shoulders.mean(axis=0) - hips.mean(axis=0)
        lines = np.stack([hips[1] - hips[0], shoulders[1] - shoulders[0], joints[_EARS[1]] - joints[_EARS[0]]])
        ahead = _cross(lines, up)
        ahead[2] = joints[_EYES].mean(axis=0) - joints[_EARS].mean(axis=0)
        own = _frames(lines, ahead, _TRUNK_REST)
        has_trunk = is_seen[_HIPS + _SHOULDERS].all()
        for bone, is_known in enumerate((has_trunk, has_trunk, is_seen[_EARS + _EYES].all())):
            parent = np.eye(3) if bone == 0 else frames[bone - 1]
            frames[bone] = self._known(slice(bone, bone + 1), parent[None], own[bone : bone + 1], np.array([is_known]))

    def _limbs(self, frames: np.ndarray, joints: np.ndarray, is_seen: np.ndarray) -> None:
        """Arms and legs by where they lead, and about themselves by how they bend; hands and feet with them."""
        upper, lower = (_unit(joints[to] - joints[start]) for start, to in ((_ROOTS, _BENDS), (_BENDS, _ENDS)))
        soles = _unit(joints[_TOES] - joints[_HEELS])
        trunk = frames[[1, 1, 0, 0]]  # arms hang on the chest, legs on the hips
        rest = _swung(trunk, upper) + _BEFORE * self._poles[0]
        has_feet = is_seen[_HEELS] & is_seen[_TOES]
        rest[2:] -= soles * has_feet[:, None]  # a straight leg is turned as its foot is
        bends = _across(lower, upper)
        sines = np.sqrt((bends * bends).sum(axis=1, keepdims=True))
        share = np.clip((sines - _STRAIGHT) / (_BENT - _STRAIGHT), 0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        poles = share * _unit(bends) + (1.0 - share) * _across(rest, upper)
        has_upper = is_seen[_ROOTS] & is_seen[_BENDS]
        has_lower = is_seen[_BENDS] & is_seen[_ENDS]
        frames[_UPPER] = self._known(_UPPER, trunk, _frames(upper, poles, _LIMB_REST), has_upper)

        poles = _swung(frames[_UPPER], lower) + _BEFORE * self._poles[1]
        grips = _unit(_across(joints[_INDEXES] - joints[_PINKIES], lower[:2]))
        has_hands = is_seen[_INDEXES] & is_seen[_PINKIES] & is_seen[_ENDS[:2]]
        poles[:2] += grips * has_hands[:, None]  # the forearm takes half of the hand's twist
        frames[_LOWER] = self._known(_LOWER, frames[_UPPER], _frames(lower, poles, _LIMB_REST), has_lower)

        self._poles[0] = (frames[_UPPER] @ _LIMB_POLES[..., None])[..., 0]
        self._poles[1] = (frames[_LOWER] @ _LIMB_POLES[..., None])[..., 0]
        hands = (joints[_INDEXES] + joints[_PINKIES]) / 2 - joints[_ENDS[:2]]
        # Feet nod about what is across shin and sole; where toes are pointed, about the x of the shin.
        sides = _cross(-lower[2:], soles) + 0.5 * frames[9:11, :, 0] + _BEFORE * self._sides
        poles = np.concatenate([joints[_INDEXES] - joints[_PINKIES], sides])
        ends = _frames(np.concatenate([hands, soles]), poles, _END_REST)
        self._sides = ends[2:, :, 0]
        has_ends = np.concatenate([has_hands, has_feet])
        frames[_END] = self._known(_END, frames[_LOWER], ends, has_ends)

    def _known(
        self,
        bones: slice,
        parents: np.ndarray,  # [B, 3, 3]
        own: np.ndarray,  # [B, 3, 3]
        is_known: np.ndarray,  # [B] bool
    ) -> np.ndarray:  # [B, 3, 3]
        """The frames of bones: their own where known, else as they were on the bone that they hang on."""
        turns = np.where(is_known[:, None, None], parents.swapaxes(1, 2) @ own, self._turns[bones])
        self._turns[bones] = turns
        return np.asarray(parents @ turns)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # [..., 3] each -> [..., 3]
    """The vector product, without the general one's checks, which take ten times as long."""
    return np.asarray(a[..., _NEXT] * b[..., _LAST] - a[..., _LAST] * b[..., _NEXT])


def _across(vectors: np.ndarray, lines: np.ndarray) -> np.ndarray:  # [B, 3], unit [B, 3] -> [B, 3]
    """The part of each vector at right angles to a line."""
    return np.asarray(vectors - (vectors * lines).sum(axis=1, keepdims=True) * lines)


def _swung(parents: np.ndarray, directions: np.ndarray) -> np.ndarray:  # [4, 3, 3], unit [4, 3] -> [4, 3]
    """Where the limbs' poles are when they go from rest to `directions` by the shortest way."""
    before = (parents @ _LIMB_DIRECTIONS[..., None])[..., 0]
    poles = (parents @ _LIMB_POLES[..., None])[..., 0]
    middle = _unit(before + directions)
    # The pole is at right angles to the limb, so that one mirror, halfway, does what the turn does.
    return np.asarray(poles - 2.0 * (middle * poles).sum(axis=1, keepdims=True) * middle)


def _frames(
    directions: np.ndarray,  # [B, 3]
    poles: np.ndarray,  # [B, 3]
    rest: np.ndarray,  # [B, 3, 3] of `_rest`
) -> np.ndarray:  # [B, 3, 3]
    """The turns that take each rest direction exactly to its direction, and the rest pole as near as it gets."""
    lines = _unit(directions)
    poles = _across(poles, lines)
    is_vague = (poles * poles).sum(axis=1) < 1e-12
    if is_vague.any():  # a pole along its line says nothing: any one does
        poles = np.where(is_vague[:, None], _across(np.eye(3)[np.abs(lines).argmin(axis=1)], lines), poles)
    poles = _unit(poles)
    turns = np.empty((len(lines), 3, 3))
    turns[:, :, 0], turns[:, :, 1], turns[:, :, 2] = lines, poles, _cross(lines, poles)
    return np.asarray(turns @ rest)


def _unit(vectors: np.ndarray) -> np.ndarray:  # [B, 3] -> [B, 3]
    """`rotations.unit_vectors` without the general norm, which takes three times as long for so few."""
    return np.asarray(vectors / np.maximum(np.sqrt((vectors * vectors).sum(axis=1, keepdims=True)), 1e-9))


def _rest(directions: np.ndarray, poles: np.ndarray) -> np.ndarray:  # [B, 3] each -> [B, 3, 3]
    """What turns each direction and its pole, unit vectors at right angles, into x and y."""
    return np.stack([directions, poles, _cross(directions, poles)], axis=1)


_TRUNK_REST = _rest(np.tile(_ACROSS, (3, 1)), np.tile(_AHEAD, (3, 1)))
_LIMB_REST = _rest(_LIMB_DIRECTIONS, _LIMB_POLES)
_END_REST = _rest(
    np.concatenate([_LIMB_DIRECTIONS[:2], [_AHEAD, _AHEAD]]), np.concatenate([_LIMB_POLES[:2], [_ACROSS, _ACROSS]])
)


def same_side(
    quaternions: np.ndarray,  # [B, 4]
    before: np.ndarray | None,  # [B, 4]
) -> np.ndarray:  # [B, 4]
    """The same turns with the signs that lie nearer to those before: q and -q are one turn, and receivers blend."""
    if before is None:
        return quaternions
    return np.where((quaternions * before).sum(axis=1, keepdims=True) < 0, -quaternions, quaternions)

"""What a camera sees of a moving person: random cameras, body sizes and mirroring, for batches of windows.

Axes of the input are y up (right-handed). Camera axes are x right, y down, z away from the camera (OpenCV, BlazePose).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixsynth_stream.normalise import root_of
from mixsynth_stream.skeleton import CORE_17

SPACES = ("image", "world")
# Every simulated picture is this high; the root_scale normalisation makes the choice irrelevant beyond the 2 % floor.
FRAME_HEIGHT_PX = 1080.0
_NEAREST_M = 0.7

# Parent of each core joint; "hips" and "shoulders" are the middles of the pairs.
BONE_PARENT = {
    "nose": "shoulders", "left_shoulder": "hips", "right_shoulder": "hips",
    "left_elbow": "left_shoulder", "right_elbow": "right_shoulder", "left_wrist": "left_elbow",
    "right_wrist": "right_elbow", "left_index": "left_wrist", "right_index": "right_wrist",
    "left_hip": "hips", "right_hip": "hips", "left_knee": "left_hip", "right_knee": "right_hip",
    "left_ankle": "left_knee", "right_ankle": "right_knee", "left_foot_index": "left_ankle",
    "right_foot_index": "right_ankle",
}  # fmt: skip
# Left and right keep the same proportions: one factor a group.
_BONE_GROUPS = ("head", "torso", "shoulder_width", "hip_width", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
_LIMB_GROUP = {
    "elbow": "upper_arm", "wrist": "forearm", "index": "hand", "knee": "thigh", "ankle": "shin", "foot_index": "foot",
}  # fmt: skip


@dataclass(frozen=True)
class Cameras:
    """B pinhole cameras that do not move."""

    rotation: np.ndarray  # [B, 3, 3] world (y up) to camera axes
    position: np.ndarray  # [B, 3] metres
    focal_px: np.ndarray  # [B]


def random_cameras(rng: np.random.Generator, motion: np.ndarray) -> Cameras:  # motion [B, T, 17, 3] y up
    """Cameras around each person: 2-9 m away, 0.3-2.8 m above the lowest foot, any side, rolled by about 3 degrees."""
    batch = len(motion)
    middle = root_of(motion).mean(axis=1)
    reach = np.sqrt(np.square(motion - middle[:, None, None]).sum(axis=-1).max(axis=(1, 2)))
    distance = np.maximum(2.0 * 4.5 ** rng.random(batch), reach + _NEAREST_M)
    yaw = rng.uniform(0, 2 * np.pi, batch)
    height = motion[..., 1].min(axis=(1, 2)) + rng.uniform(0.3, 2.8, batch) - middle[:, 1]
    # Close cameras are not held far above or below the person.
    height = np.clip(height, -0.7 * distance, 0.7 * distance)
    level = np.sqrt(distance**2 - height**2)
    offset = np.stack([level * np.sin(yaw), height, level * np.cos(yaw)], axis=-1)
    position = middle + offset
    # The person is not always in the middle of the picture: look up to 20 degrees past them, and roll.
    aside, above = rng.uniform(-0.35, 0.35, batch), rng.uniform(-0.2, 0.2, batch)
    roll = np.clip(rng.normal(0, np.radians(3), batch), -0.2, 0.2)
    forward = _unit(-offset)
    right = _unit(np.cross(forward, [0.0, 1.0, 0.0]))
    forward = _unit(forward + aside[:, None] * right + above[:, None] * np.array([0.0, 1.0, 0.0]))
    right = _unit(np.cross(forward, [0.0, 1.0, 0.0]))
    down = np.cross(forward, right)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=1)
    field = np.radians(rng.uniform(30, 75, batch))
    return Cameras(rotation, position, FRAME_HEIGHT_PX / 2 / np.tan(field / 2))


def to_image(cameras: Cameras, motion: np.ndarray) -> np.ndarray:  # [B, T, 17, 3] y up -> [B, T, 17, 2] pixels
    """Pixels from the middle of the picture, x right, y down."""
    seen = _turned(cameras.rotation, motion - cameras.position[:, None, None].astype(np.float32))
    depth = np.maximum(seen[..., 2:], _NEAREST_M / 2)
    return np.asarray(cameras.focal_px[:, None, None, None].astype(np.float32) * seen[..., :2] / depth)


def to_world(cameras: Cameras, motion: np.ndarray) -> np.ndarray:  # [B, T, 17, 3] y up -> [B, T, 17, 3] metres
    """BlazePose world landmarks: the camera's axes, metres, each pose centred on the middle of its hips."""
    return _turned(cameras.rotation, motion - root_of(motion)[..., None, :])


def _turned(rotation: np.ndarray, motion: np.ndarray) -> np.ndarray:  # [B, 3, 3], [B, T, 17, 3] -> [B, T, 17, 3]
    flat = motion.reshape(len(motion), -1, 3) @ rotation.transpose(0, 2, 1).astype(np.float32)
    return np.asarray(flat.reshape(motion.shape), np.float32)


def mirrored(motion: np.ndarray) -> np.ndarray:  # [..., 17, 3] y up
    """The motion seen in a mirror: x changes sign, left and right change places."""
    return np.asarray(motion[..., CORE_17.mirror, :] * np.array([-1.0, 1.0, 1.0], motion.dtype))


def resized(
    motion: np.ndarray,  # [B, T, 17, 3] y up
    factors: np.ndarray,  # [B, 10] one for each of head, torso, shoulder_width, hip_width, arms and legs
) -> np.ndarray:
    """The same angles on another body. The floor track scales with the legs, so feet keep standing."""
    group = {name: factors[:, i, None, None] for i, name in enumerate(_BONE_GROUPS)}
    joints = {name: motion[..., i, :] for i, name in enumerate(CORE_17.joints)}
    hips = root_of(motion)
    shoulders = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
    legs = (group["thigh"] + group["shin"]) / 2
    new_hips = hips * legs
    new_shoulders = new_hips + (shoulders - hips) * group["torso"]
    result = {"hips": new_hips, "shoulders": new_shoulders}
    old = {**joints, "hips": hips, "shoulders": shoulders}
    for name, parent in BONE_PARENT.items():
        part = name.partition("_")[2]
        if part == "shoulder":
            result[name] = new_shoulders + (old[name] - shoulders) * group["shoulder_width"]
        elif part == "hip":
            result[name] = new_hips + (old[name] - hips) * group["hip_width"]
        else:
            result[name] = result[parent] + (old[name] - old[parent]) * group[_LIMB_GROUP.get(part, "head")]
    return np.stack([result[name] for name in CORE_17.joints], axis=-2)


def random_body_factors(rng: np.random.Generator, batch: int) -> np.ndarray:  # [B, 10]
    """A size of the whole body within 12 % and proportions within about 8 %."""
    whole = rng.uniform(0.88, 1.12, (batch, 1))
    return np.asarray(whole * np.clip(rng.normal(1, 0.05, (batch, len(_BONE_GROUPS))), 0.88, 1.12))


def _unit(vectors: np.ndarray) -> np.ndarray:  # [..., 3]
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))

"""Cameras that look at a moving person: random cameras, body sizes and mirroring, for batches of windows.

Axes of the input are y up (right-handed). Camera axes are x right, y down, z away from the camera (OpenCV, BlazePose).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mixsynth_stream.data.time_last import hips_of, poses, time_last
from mixsynth_stream.normalise import root_of
from mixsynth_stream.rotations import unit_vectors
from mixsynth_stream.skeleton import CORE_17, body_part

# The height of every simulated picture. The normalisation root_scale takes it out again, above the 2 % floor.
FRAME_HEIGHT_PX = 1080.0
_NEAREST_M = 0.7

# fmt: off
# Parent of each core joint; "hips" and "shoulders" are the middles of the pairs.
BONE_PARENT = {
    "nose": "shoulders", "left_shoulder": "hips", "right_shoulder": "hips",
    "left_elbow": "left_shoulder", "right_elbow": "right_shoulder", "left_wrist": "left_elbow",
    "right_wrist": "right_elbow", "left_index": "left_wrist", "right_index": "right_wrist",
    "left_hip": "hips", "right_hip": "hips", "left_knee": "left_hip", "right_knee": "right_hip",
    "left_ankle": "left_knee", "right_ankle": "right_knee", "left_foot_index": "left_ankle",
    "right_foot_index": "right_ankle",
}
# One factor a group: left and right have the same proportions.
BONE_GROUPS = ("head", "torso", "shoulder_width", "hip_width", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
_GROUP_OF = {
    "nose": "head", "shoulder": "shoulder_width", "hip": "hip_width", "elbow": "upper_arm", "wrist": "forearm",
    "index": "hand", "knee": "thigh", "ankle": "shin", "foot_index": "foot",
}
# fmt: on


@dataclass(frozen=True)
class Cameras:
    """B pinhole cameras that do not move."""

    rotation: np.ndarray  # [B, 3, 3] world (y up) to camera axes
    position: np.ndarray  # [B, 3] metres
    focal_px: np.ndarray  # [B]


def random_cameras(rng: np.random.Generator, motion: np.ndarray) -> Cameras:  # motion [B, T, 17, 3] y up
    """Cameras around each person: 2-9 m away, 0.3-2.8 m above the lowest foot, any side, rolled by about 3 degrees."""
    batch, rows = len(motion), time_last(motion)
    middle = root_of(motion).mean(axis=1)
    away = rows - middle[:, None, :, None]
    reach = np.sqrt(np.einsum("bjdt,bjdt->bjt", away, away).max(axis=(1, 2)))
    distance = np.maximum(2.0 * 4.5 ** rng.random(batch), reach + _NEAREST_M)
    yaw = rng.uniform(0, 2 * np.pi, batch)
    height = rows[:, :, 1].min(axis=(1, 2)) + rng.uniform(0.3, 2.8, batch) - middle[:, 1]
    # A close camera does not look from far above or below the person.
    height = np.clip(height, -0.7 * distance, 0.7 * distance)
    level = np.sqrt(distance**2 - height**2)
    offset = np.stack([level * np.sin(yaw), height, level * np.cos(yaw)], axis=-1)
    position = middle + offset
    # The person is not always in the middle of the picture: the camera looks up to 20 degrees past them, and rolls.
    aside, above = rng.uniform(-0.35, 0.35, batch), rng.uniform(-0.2, 0.2, batch)
    roll = np.clip(rng.normal(0, np.radians(3), batch), -0.2, 0.2)
    forward = unit_vectors(-offset)
    right = unit_vectors(np.cross(forward, [0.0, 1.0, 0.0]))
    forward = unit_vectors(forward + aside[:, None] * right + above[:, None] * np.array([0.0, 1.0, 0.0]))
    right = unit_vectors(np.cross(forward, [0.0, 1.0, 0.0]))
    down = np.cross(forward, right)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=1)
    field = np.radians(rng.uniform(30, 75, batch))
    return Cameras(rotation, position, FRAME_HEIGHT_PX / 2 / np.tan(field / 2))


def to_image(cameras: Cameras, motion: np.ndarray) -> np.ndarray:  # [B, T, 17, 3] y up -> [B, T, 17, 2] pixels
    """Pixels from the middle of the picture, x right, y down."""
    # The rotation takes the focal length in, so that one product of matrices does both.
    lens = np.array([1.0, 1.0, 0.0]) * cameras.focal_px[:, None] + np.array([0.0, 0.0, 1.0])
    offset = time_last(motion) - cameras.position[:, None, :, None].astype(np.float32)
    points = _rotated(lens[:, :, None] * cameras.rotation, offset)
    return poses(points[:, :, :2] / np.maximum(points[:, :, 2:], _NEAREST_M / 2))


def to_world(cameras: Cameras, motion: np.ndarray) -> np.ndarray:  # [B, T, 17, 3] y up -> [B, T, 17, 3] metres
    """BlazePose world landmarks: the camera's axes, metres, each pose centred on the middle of its hips."""
    rows = time_last(motion)
    return poses(_rotated(cameras.rotation, rows - hips_of(rows)))


def _rotated(rotation: np.ndarray, rows: np.ndarray) -> np.ndarray:  # [B, 3, 3], [B, 17, 3, T] -> [B, 17, 3, T]
    return np.asarray(rotation.astype(np.float32)[:, None] @ rows, np.float32)


def mirrored(motion: np.ndarray) -> np.ndarray:  # [..., 17, 3] y up
    """The motion seen in a mirror: x changes sign, left and right change places."""
    return np.asarray(motion[..., CORE_17.mirror, :] * np.array([-1.0, 1.0, 1.0], motion.dtype))


def resized(
    motion: np.ndarray,  # [B, T, 17, 3] y up
    factors: np.ndarray,  # [B, 10] one for each of head, torso, shoulder_width, hip_width, arms and legs
) -> np.ndarray:
    """The same angles on another body. The path over the floor scales with the legs, so that feet do not slide."""
    rows, (share, bones, chain) = time_last(motion), _bone_maps()
    # New joints are weighted sums of the old ones: [B, 17, 17].
    sums = (chain @ ((factors @ share)[:, :, None] * bones)).astype(rows.dtype)
    return poses((sums @ rows.reshape(*rows.shape[:2], -1)).reshape(rows.shape))


@lru_cache(maxsize=1)
def _bone_maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear maps: group factors to bone factors [10, 19], joints to bones [19, 17], bones to joints [17, 19].

    The first bone leads from the origin to the middle of the hips, the second on to the middle of the shoulders.
    """
    unit = np.eye(2 + len(BONE_PARENT))
    joint = dict(zip(CORE_17.joints, np.eye(len(CORE_17)), strict=True))
    for pair in ("hip", "shoulder"):
        joint[f"{pair}s"] = (joint[f"left_{pair}"] + joint[f"right_{pair}"]) / 2
    bones, groups = [joint["hips"], joint["shoulders"] - joint["hips"]], [("thigh", "shin"), ("torso",)]
    chain = {"hips": unit[0], "shoulders": unit[0] + unit[1]}
    for name, parent in BONE_PARENT.items():
        part = body_part(name)
        start = "shoulders" if part == "shoulder" else parent
        groups.append((_GROUP_OF[part],))
        chain[name] = chain[start] + unit[len(bones)]
        bones.append(joint[name] - joint[start])
    share = np.array([[(group in names) / len(names) for names in groups] for group in BONE_GROUPS])
    return share, np.stack(bones), np.stack([chain[name] for name in CORE_17.joints])


def random_body_factors(rng: np.random.Generator, batch: int) -> np.ndarray:  # [B, 10]
    """A size of the whole body within 12 % and proportions within about 8 %."""
    whole = rng.uniform(0.88, 1.12, (batch, 1))
    return np.asarray(whole * np.clip(rng.normal(1, 0.05, (batch, len(BONE_GROUPS))), 0.88, 1.12))

"""Camera truth: measured motion as a calibrated camera sees it, from markers and Pose2Sim calibrations.

Calibrations are TOML files in OpenCV's convention.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.rotations import axis_angle_to_matrix
from mixsynth_stream.skeleton import BLAZEPOSE_33

# Marker names of OpenPose and Pose2Sim -> BlazePose joints: the twelve limb joints that both define alike.
LIMB_MARKERS: dict[str, str] = {
    f"{side[0].upper()}{joint.capitalize()}": f"{side}_{joint}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
}
LIMB_JOINTS: tuple[int, ...] = tuple(BLAZEPOSE_33.index(joint) for joint in LIMB_MARKERS.values())


@dataclass(frozen=True)
class Camera:
    """A calibrated pinhole camera with radial and tangential distortion (OpenCV's first four coefficients)."""

    name: str
    matrix: np.ndarray  # [3, 3] pixels
    distortion: np.ndarray  # [4] k1, k2, p1, p2
    rotation: np.ndarray  # [3, 3] world -> camera
    translation: np.ndarray  # [3] metres

    def project(self, points_m: np.ndarray) -> np.ndarray:  # [..., 3] metres -> [..., 2] pixels
        """The places in the picture of points in the calibration's world."""
        points = points_m @ self.rotation.T + self.translation
        x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
        k1, k2, p1, p2 = self.distortion
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2 * r2
        distorted_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        distorted_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        distorted = np.stack([distorted_x, distorted_y, np.ones_like(x)], axis=-1)
        return np.asarray((distorted @ self.matrix.T)[..., :2])


def read_camera(path: str | Path, name: str) -> Camera:
    """One camera of a calibration file; `name` is its block or its `name` entry. `ValueError` lists the cameras."""
    blocks: dict[str, dict[str, object]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("["):
            blocks[text.strip("[]")] = {}
        elif "=" in text and blocks:
            key, value = text.split("=", 1)
            # The values are numbers, strings and nested lists, which TOML and JSON write alike.
            blocks[list(blocks)[-1]][key.strip()] = json.loads(value)
    for block, entries in blocks.items():
        if name in (block, entries.get("name")) and "matrix" in entries:
            return Camera(
                name,
                np.array(entries["matrix"], np.float64),
                np.array(entries["distortions"], np.float64)[:4],
                axis_angle_to_matrix(np.array(entries["rotation"], np.float64)),
                np.array(entries["translation"], np.float64),
            )
    cameras = [block for block, entries in blocks.items() if "matrix" in entries]
    raise ValueError(f"{path} has no camera {name!r}; it has {', '.join(cameras) or 'none'}")


def limbs_in_picture(markers: dict[str, np.ndarray], camera: Camera) -> np.ndarray:
    """The twelve limb joints in pixels, [T, 12, 2], in the order of `LIMB_JOINTS`.

    TRC files have y up and the calibration's world has z up: its axes are (z, x, y) of the TRC.
    """
    limbs = np.stack([markers[name] for name in LIMB_MARKERS], axis=1)
    return camera.project(limbs[..., [2, 0, 1]])

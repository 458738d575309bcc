"""A person who walks and swings one arm, as a clip of motion capture."""

from __future__ import annotations

import numpy as np

from mixsynth_stream.data.mocap import FILE_JOINTS, Clip

# A person of 1.72 m who faces +z with y up, so that the left hand is at +x.
_STANDING = {
    "pelvis": (0, 0.95, 0), "spine": (0, 1.1, 0), "chest": (0, 1.25, 0), "neck": (0, 1.45, 0), "head": (0, 1.58, 0.02),
    "headtip": (0, 1.72, 0.02), "lshoulder": (0.18, 1.42, 0), "lelbow": (0.2, 1.12, 0), "lwrist": (0.2, 0.87, 0.05),
    "lhand": (0.2, 0.79, 0.07), "lhip": (0.09, 0.93, 0), "lknee": (0.1, 0.5, 0.01), "lankle": (0.1, 0.08, -0.03),
    "ltoe": (0.11, 0.02, 0.1),
}  # fmt: skip


def person(steps: int = 120, speed: float = 1.0) -> np.ndarray:  # [T, 22, 3]
    """Walks along z and swings one arm, so that left and right differ and every joint moves."""
    joints = {**_STANDING, **{f"r{name[1:]}": (-p[0], *p[1:]) for name, p in _STANDING.items() if name[0] == "l"}}
    pose = np.array([joints[name] for name in FILE_JOINTS], np.float32)
    time = np.arange(steps, dtype=np.float32) / 30
    motion = np.repeat(pose[None], steps, axis=0)
    motion[..., 2] += speed * time[:, None]
    for name, reach in (("lelbow", 0.1), ("lwrist", 0.25), ("lhand", 0.3)):
        motion[:, FILE_JOINTS.index(name), 2] += reach * np.sin(5 * time)
    return motion


def clip(positions: np.ndarray, name: str = "walk", rate_hz: float = 30.0) -> Clip:
    return Clip(name=name, positions=positions, rate_hz=rate_hz, source="test", subject=name)

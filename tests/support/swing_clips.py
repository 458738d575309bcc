"""Three people who swing their arms and legs, as a file of clips, and a training on them that takes seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mixsynth_stream.data.mocap import FILE_JOINTS
from mixsynth_stream.train.config import TrainConfig


def write_swings(path: Path) -> Path:
    """Each at their own pace, 5 s."""
    rng = np.random.default_rng(0)
    heights = {
        "pelvis": 0.95, "spine": 1.1, "chest": 1.25, "neck": 1.45, "head": 1.58, "headtip": 1.72, "shoulder": 1.42,
        "elbow": 1.12, "wrist": 0.87, "hand": 0.79, "hip": 0.93, "knee": 0.5, "ankle": 0.08, "toe": 0.02,
    }  # fmt: skip
    pose = np.zeros((22, 3))
    for j, name in enumerate(FILE_JOINTS):
        side = {"l": 1, "r": -1}.get(name[0], 0) if name[1:] in heights else 0
        pose[j] = (0.15 * side, heights[name[1:] if side else name], 0.12 if name.endswith("toe") else 0.0)
    time = np.arange(150)[:, None] / 30
    motions = []
    for _ in range(3):
        pace, phase = rng.uniform(3, 6), rng.uniform(0, 6, 22)
        motion = np.repeat(pose[None], 150, axis=0)
        limbs = np.isin(
            np.arange(22), [FILE_JOINTS.index(n) for n in ("lwrist", "lhand", "rwrist", "rhand", "lknee", "rankle")]
        )
        motion[..., 2] += limbs * 0.25 * np.sin(pace * time + phase)
        motions.append(motion)
    positions = np.concatenate(motions).astype(np.float32)
    clips = {"starts": [0, 150, 300], "lengths": [150] * 3, "subject": ["a", "b", "c"]}
    np.savez(path, joints=np.array(FILE_JOINTS), fps=30.0, positions=positions, **clips)  # type: ignore[arg-type]
    return path


def small(clips: Path, out: Path, **changes: object) -> TrainConfig:
    """A training of six steps on a file of clips."""
    config = TrainConfig(data=(clips,), out=out, steps=6, batch=4, warmup=2, validate_every=2)
    return replace(config, **changes)  # type: ignore[arg-type]

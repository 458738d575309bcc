"""Clips of motion capture in the form of short-term prediction, for `compare_predictions.py`.

As data/h36m.py has Human3.6M: 25 Hz, metres, position and rotation of the root zeroed. The root stands between the
hips; its axes are the line from hip to hip and the torso, because the clips have no rotations. Joints are Core-17's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mixsynth_stream.data.h36m import PROTOCOL_RATE_HZ
from mixsynth_stream.data.mocap import Clip, load_clips
from mixsynth_stream.data.sequences import PoseSequence
from mixsynth_stream.rotations import unit_vectors
from mixsynth_stream.skeleton import CORE_17


def load_sequences(paths: Iterable[Path]) -> list[PoseSequence]:
    """The clips of these files, each as poses [F, 17, 3] at 25 Hz. Raises `SourceError` for a file without clips."""
    return [_sequence(clip) for path in paths for clip in load_clips(path)]


def _sequence(clip: Clip) -> PoseSequence:
    positions = np.asarray(clip.core, np.float64)
    seconds = np.arange(len(positions)) / clip.rate_hz
    grid = np.arange(0, seconds[-1] + 1e-9, 1 / PROTOCOL_RATE_HZ)
    # Whole frames in between are joined by lines: at these rates that changes a joint by a millimetre at most.
    index = np.minimum(np.searchsorted(seconds, grid, side="right"), len(seconds) - 1)
    share = np.clip((grid - seconds[index - 1]) * clip.rate_hz, 0, 1)[:, None, None]
    poses = rooted(positions[index - 1] * (1 - share) + positions[index] * share)
    return PoseSequence(
        name=clip.name, poses=poses, joints=CORE_17.joints, rate_hz=PROTOCOL_RATE_HZ, subject=clip.subject
    )


def rooted(positions: np.ndarray) -> np.ndarray:  # [F, 17, 3] -> [F, 17, 3]
    """The poses seen from their own root: x from the right hip to the left one, y up along the torso."""
    left_hip, right_hip, left_shoulder, right_shoulder = (
        positions[:, CORE_17.joints.index(name)]
        for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    )
    root = (left_hip + right_hip) / 2
    x = unit_vectors(left_hip - right_hip)
    torso = (left_shoulder + right_shoulder) / 2 - root
    y = unit_vectors(torso - (torso * x).sum(axis=-1, keepdims=True) * x)
    axes = np.stack([x, y, np.cross(x, y)], axis=1)  # [F, 3, 3], a row an axis
    return np.asarray(np.einsum("fak,fjk->fja", axes, positions - root[:, None]))

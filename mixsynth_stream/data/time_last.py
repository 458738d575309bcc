"""Time last: the order in memory in which windows are drawn fastest, which is window, joint, axis, time.

To their users, batches of motion are [B, T, 17, D]. With time last they hold long runs of numbers for one operation,
and products of matrices take them as they are. Motion in another order is copied.
"""

from __future__ import annotations

import numpy as np

from mixsynth_stream.normalise import root_of


def time_last(motion: np.ndarray) -> np.ndarray:  # [B, T, 17, D] -> [B, 17, D, T]
    """Each joint along each axis as one run of numbers. It copies unless the motion lies in this order."""
    return np.ascontiguousarray(motion.transpose(0, 2, 3, 1))


def poses(rows: np.ndarray) -> np.ndarray:  # [B, 17, D, T] -> [B, T, 17, D]
    """A view of the same memory, pose by pose."""
    return rows.transpose(0, 3, 1, 2)


def hips_of(rows: np.ndarray) -> np.ndarray:  # [B, 17, D, T] -> [B, 1, D, T]
    """The middle of the hips."""
    return time_last(root_of(poses(rows))[:, :, None])

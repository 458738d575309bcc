"""The order in memory that drawing windows is quick in: window, joint, axis, and time last.

Batches of motion are [B, T, 17, D] to everybody. In this order they have long runs of numbers to treat alike, and
products of matrices take them as they are; motion that lies in another order is copied.
"""

from __future__ import annotations

import numpy as np

from mixsynth_stream.normalise import root_of


def time_last(motion: np.ndarray) -> np.ndarray:  # [B, T, 17, D] -> [B, 17, D, T]
    """Each joint along each axis as one run of numbers; no copy where it lies like that."""
    return np.ascontiguousarray(motion.transpose(0, 2, 3, 1))


def poses(rows: np.ndarray) -> np.ndarray:  # [B, 17, D, T] -> [B, T, 17, D]
    """A view of the same memory, pose by pose."""
    return rows.transpose(0, 3, 1, 2)


def hips_of(rows: np.ndarray) -> np.ndarray:  # [B, 17, D, T] -> [B, 1, D, T]
    """The middle of the hips."""
    return time_last(root_of(poses(rows))[:, :, None])

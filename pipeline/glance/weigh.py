"""Weighing: how far off a followed pose may be, and how much it counts beside the window's.

`scripts/fit_glance.py` fits the constants on clips, and prints what they give on a clip that they were not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """The constants. Lengths are in body scales."""

    # Past the newest keyframe sigma grows with time, and with what the points of a joint disagreed by since then.
    floor: float = 0.03
    per_s: float = 0.15
    per_misfit: float = 2.7
    # The share of that sigma which counts against the window's: a forecast errs with all joints at once.
    trust: float = 0.25
    # In a gap, what matters is how far the way from one keyframe to the other missed the joint measured there.
    gap_floor: float = 0.04
    gap_per_miss: float = 0.7
    gap_trust: float = 0.5


WEIGHING = Weighing()


class Ways(NamedTuple):
    """A person followed through a gap, from both keyframes, in the pictures between them."""

    share: np.ndarray  # [G] of the time of the gap that is over, 0..1
    there: np.ndarray  # [G, J, 2] from the first keyframe
    back: np.ndarray  # [G, J, 2] from the second one
    misses: tuple[np.ndarray, np.ndarray]  # [J, 2] the measured pose minus the followed one, where each way ends

    def blend(self, scale: float, weighing: Weighing = WEIGHING) -> tuple[np.ndarray, np.ndarray]:
        """Poses [G, J, 2] and their sigma [G, J] in pixels; `scale` is the body scale.

        Each way is bent so that it ends at the measured pose, and counts the more the closer its own keyframe is.
        """
        over, left = self.share[:, None], 1 - self.share[:, None]
        there = self.there + over[..., None] * self.misses[0]
        back = self.back + left[..., None] * self.misses[1]
        variances = [(weighing.gap_per_miss * np.linalg.norm(miss, axis=-1) / scale) ** 2 for miss in self.misses]
        floor = weighing.gap_floor**2
        weights = [left / (variances[0] + floor), over / (variances[1] + floor)]
        both = weights[0] + weights[1]
        poses = (weights[0][..., None] * there + weights[1][..., None] * back) / both[..., None]
        variance = (weights[0] * variances[0] + weights[1] * variances[1]) / both
        return poses, scale * np.sqrt(4 * over * left * variance + floor)


def ahead_sigma(
    elapsed_s: np.ndarray,  # [G] since the keyframe
    misfit: np.ndarray,  # [G, J] body scales, summed up since then
    scale: float,
    weighing: Weighing = WEIGHING,
) -> np.ndarray:  # [G, J] pixels
    """Sigma of a pose followed past the newest keyframe."""
    with_time = weighing.floor**2 + (weighing.per_s * elapsed_s[:, None]) ** 2
    return np.asarray(scale * np.sqrt(with_time + (weighing.per_misfit * misfit) ** 2))


def shares(sigma: np.ndarray, own: np.ndarray, trust: float) -> np.ndarray:  # of one shape
    """The share of a followed pose with sigma `own` where the window's has `sigma`."""
    window = sigma * sigma
    return np.asarray(window / (window + (trust * own) ** 2))

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

# What an estimator says of one joint in two looks at nearly the same picture differs by so much, in body scales. Window
# and followed pose begin at the same keyframe, so that neither takes it off the other.
_JITTER = 0.02
# Misses much below this say little: they are mostly the jitter of both keyframes.
_SMALL_MISS = 0.06
# Each gap counts by so much less than the one after it: about three count, so that a new view is soon believed.
_MEMORY = 0.7
# Followed poses count whole where this share of the evidence is for them.
_CLEARLY_CLOSER = 0.1


class Record(NamedTuple):
    """How followed poses of one person did at the keyframes before, beside what the window forecast for them.

    A record without keyframes is half a gap's evidence for the followed poses.
    """

    closer: float = 0.1  # evidence that followed poses come closer, minus evidence that the window does
    evidence: float = 0.5  # the sum of both; a gap whose joints were all missed clearly counts 1

    def after(self, forecast: np.ndarray, followed: np.ndarray, scale: float) -> Record:  # [J, 2] each
        """With one more keyframe, which both missed by so many pixels; `scale` is the body scale."""
        # `np.add.reduce`, because `sum` and `mean` run numpy's Python code.
        squares = [np.add.reduce(np.square(miss / scale), axis=-1) for miss in (forecast, followed)]
        # Joint by joint, so that a keyframe where the estimator errs says nothing: both miss it by as much.
        both = squares[0] + squares[1]
        unit = both + 2 * _SMALL_MISS**2
        closer, evidence = (np.add.reduce(part / unit) / len(unit) for part in (squares[0] - squares[1], both))
        return Record(_MEMORY * self.closer + float(closer), _MEMORY * self.evidence + float(evidence))

    @property
    def worth(self) -> float:
        """What followed poses count for, 0 to 1: a picture that does not show the person only makes poses worse."""
        return min(max(self.closer / (_CLEARLY_CLOSER * self.evidence), 0.0), 1.0)


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


def fused_sigma(
    sigma: np.ndarray,  # [M, J] pixels, of the window
    own: np.ndarray,  # [M, J] of the followed poses
    share: np.ndarray,  # [M, J] of the followed poses
    scale: float,
) -> np.ndarray:  # [M, J]
    """Sigma of the window's pose moved by `share` of the way to the followed one."""
    return np.asarray(np.sqrt(np.square((1 - share) * sigma) + np.square(share * own) + jitter_px(scale) ** 2))


def jitter_px(scale: float) -> float:
    """How far off what an estimator measures is, for a body of this scale."""
    return _JITTER * scale

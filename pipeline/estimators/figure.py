"""Figure: a body of one skeleton as a follower sees it: its region, its score, and how far two poses are apart."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixsynth_stream.normalise import distance_in_scales
from mixsynth_stream.pipeline.estimators.checks import check_skeleton
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.spaces import Space, space_of

# Half a region's side, in distances from the hips to the farthest joint. A close region is the more precise one;
# the networks were trained with 1.4. docs/estimator-modes.md has the measurement.
_MARGIN = 1.18
# Of somebody whom the edge of the picture cuts off, the joints beyond it come out too near, and a close region shrinks
# more at each look; the network's own holds. The edge cuts somebody off where so many joints lie outside.
_MARGIN_CUT = 1.4
_LEAST_OUTSIDE = 4


class Figure:
    """Poses [J, 2] in pixels, of the J joints of a skeleton. Most joints that count are those of the network.

    width: of what an eye looks at, as a share of its height.
    """

    def __init__(self, skeleton: str, *, width: float = 1.0) -> None:
        self.skeleton = check_skeleton(skeleton)
        self._width = width

    @cached_property
    def _space(self) -> Space:
        return space_of("image", self.skeleton)

    @cached_property
    def mirror(self) -> np.ndarray:  # [J]
        """For each joint the same one on the other side."""
        return np.array(self.skeleton.mirror)

    def region(self, pose: np.ndarray, rgb: np.ndarray) -> Region | None:
        """The region around a pose: a wide one where the edge of the picture cuts the person off."""
        is_cut_off = len(self._space.own_core) - self.joints_inside(pose, rgb) >= _LEAST_OUTSIDE
        margin = _MARGIN_CUT if is_cut_off else _MARGIN
        return Region.of_pose(pose, margin=margin, skeleton=self.skeleton, width=self._width)

    def joints_inside(self, pose: np.ndarray, rgb: np.ndarray) -> int:
        """How many of a body's main joints lie in the picture."""
        joints = pose[self._space.own_core]
        return int(((joints >= 0) & (joints <= rgb.shape[1::-1])).all(axis=1).sum())

    def score(self, person: Person) -> float:
        """The mean score of a body's main joints."""
        return float(person.scores[self._space.own_core].mean())

    def distance(self, pose: np.ndarray, other: np.ndarray) -> float:
        """How far two poses are apart, as a mean over the main joints in body scales."""
        return distance_in_scales(self._space.core_of(pose), self._space.core_of(other), min_scale=1.0)

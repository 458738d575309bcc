"""Spaces: what a pose is in image, world and rotation space, and the time grid that all networks share.

A leaf: importing it loads no numpy; the first use of an array does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mixsynth_stream.skeleton import BLAZEPOSE_33, CARRIER, CORE_17, CORE_FROM_BLAZEPOSE, SMPL_24, Skeleton

if TYPE_CHECKING:
    import numpy as np

# Steps a second of the time grid, at any rate of the source. Weights from elsewhere may have another grid.
GRID_HZ = 30.0
# A body scale is at least this share of the frame height, so that normalising does not blow up the pose of somebody
# whose torso is seen end-on.
SCALE_FLOOR = 0.02


@dataclass(frozen=True)
class Space:
    """What a pose is in one space: J joints of D numbers each, and the C of them that the network runs on."""

    name: str
    skeleton: Skeleton  # of the J joints
    dims: int  # D
    network: Skeleton  # of the C joints
    core_joints: tuple[int, ...]  # C: which of the J these are
    carriers: tuple[int, ...]  # J: which of the C each joint moves with
    normalisation: str  # of the weights that ship

    @property
    def is_rotation(self) -> bool:
        """Whether a joint is the first two columns of a rotation matrix instead of a place."""
        return self.name == "rotation"

    @property
    def joint_dim(self) -> int:
        """Numbers a pose of the network, C * D."""
        return len(self.network) * self.dims

    @cached_property
    def core(self) -> np.ndarray:  # [C]
        """`core_joints` as an index array."""
        import numpy as np

        return np.array(self.core_joints)

    @cached_property
    def carrier(self) -> np.ndarray:  # [J]
        """`carriers` as an index array."""
        import numpy as np

        return np.array(self.carriers)


def _landmarks(name: str, dims: int, normalisation: str) -> Space:
    return Space(name, BLAZEPOSE_33, dims, CORE_17, CORE_FROM_BLAZEPOSE, CARRIER, normalisation)


# Every joint of SMPL is one of the network's: none is carried by another.
_ALL_24 = tuple(range(len(SMPL_24)))
SPACES = {
    "image": _landmarks("image", 2, "root_scale"),
    "world": _landmarks("world", 3, "root"),
    "rotation": Space("rotation", SMPL_24, 6, SMPL_24, _ALL_24, _ALL_24, "none"),
}
# The spaces of a landmark estimator. They run side by side, and weights for them ship.
LANDMARK_SPACES = ("image", "world")


def checked_space(name: str, choices: tuple[str, ...] = tuple(SPACES)) -> Space:
    """The space of that name. `ValueError` lists the `choices`."""
    if name not in choices:
        raise ValueError(f"space must be one of {', '.join(choices)}, found {name!r}")
    return SPACES[name]


def scale_floor(space: str, height_px: float) -> float:
    """The smallest body scale of a window: pixels in images of that height, 0 in the other spaces."""
    return SCALE_FLOOR * height_px if space == "image" else 0.0

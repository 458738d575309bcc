"""Spaces: what a pose is in image, world and rotation space, and the time grid that all networks share.

A leaf: importing it loads no numpy; the first use of an array does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, LANDMARKS, SMPL_24, Skeleton, carriers_of, core_joint

if TYPE_CHECKING:
    import numpy as np

# Steps a second of the time grid, at any rate of the source. Weights from elsewhere may have another grid.
GRID_HZ = 30.0
# A body scale is at least this share of the frame height, so that normalising does not blow up the pose of somebody
# whose torso is seen end-on.
SCALE_FLOOR = 0.02


@dataclass(frozen=True)
class Space:
    """What a pose is in one space: J joints of D numbers each, and the C of them that the network runs on.

    A window has R rows: the J joints of the skeleton, and after them the joints of the network that it lacks. What
    stands in those is expected from the others, and never leaves the window.
    """

    name: str
    skeleton: Skeleton  # of the J joints
    dims: int  # D
    network: Skeleton  # of the C joints
    core_rows: tuple[int, ...]  # C: which of the R rows these are
    carriers: tuple[tuple[int, ...], ...]  # R: which of the C each row moves with; several: with their middle
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
    def joints(self) -> int:
        """J, the joints of the skeleton."""
        return len(self.skeleton)

    @cached_property
    def rows(self) -> int:
        """R, the rows of a window."""
        return len(self.carriers)

    @cached_property
    def core(self) -> np.ndarray:  # [C]
        """`core_rows` as an index array."""
        import numpy as np

        return np.array(self.core_rows)

    @cached_property
    def own_core(self) -> np.ndarray:  # [at most C]
        """The joints of the skeleton that the network runs on."""
        return self.core[self.core < self.joints]

    @cached_property
    def carrier(self) -> np.ndarray:  # [R]
        """The first of each row's `carriers`."""
        import numpy as np

        return np.array([first for first, *_ in self.carriers])

    @cached_property
    def _middles(self) -> tuple[np.ndarray, np.ndarray]:  # [K], [K, C]
        """The rows that move with the middle of several joints, and the shares of these."""
        import numpy as np

        rows = [row for row, carriers in enumerate(self.carriers) if len(carriers) > 1]
        shares = np.zeros((len(rows), len(self.network)))
        for share, row in zip(shares, rows, strict=True):
            share[list(self.carriers[row])] = 1 / len(self.carriers[row])
        return np.array(rows, int), shares

    def carried(self, core: np.ndarray) -> np.ndarray:  # [M, C, D] -> [M, R, D]
        """For each row, the place, or the movement, of what it moves with."""
        result = core.take(self.carrier, axis=1)
        rows, shares = self._middles
        if len(rows):
            result[:, rows] = shares @ core
        return result

    def core_of(self, poses: np.ndarray) -> np.ndarray:  # [..., J or R, D] -> [..., C, D]
        """The joints of the network; NaN where the skeleton lacks one and the poses are without the other rows."""
        if poses.shape[-2] == self.rows:
            return poses[..., self.core, :]
        import numpy as np

        is_own = (self.core < self.joints)[:, None]
        return np.where(is_own, poses[..., np.minimum(self.core, self.joints - 1), :], np.nan)


def _landmarks(name: str, skeleton: Skeleton) -> Space:
    """The space of a landmark skeleton: "image" or "world"."""
    dims, normalisation = {"image": (2, "root_scale"), "world": (3, "root")}[name]
    rows = {core_joint(joint): row for row, joint in enumerate(skeleton.joints)}
    missing = [joint for joint in CORE_17.joints if joint not in rows]
    rows |= {joint: len(skeleton) + number for number, joint in enumerate(missing)}
    carriers = tuple(
        tuple(CORE_17.index(carrier) for carrier in carriers_of(joint)) for joint in (*skeleton.joints, *missing)
    )
    core_rows = tuple(rows[joint] for joint in CORE_17.joints)
    return Space(name, skeleton, dims, CORE_17, core_rows, carriers, normalisation)


# Every joint of SMPL is one of the network's: none is carried by another.
_ALL_24 = tuple(range(len(SMPL_24)))
SPACES = {
    "image": _landmarks("image", BLAZEPOSE_33),
    "world": _landmarks("world", BLAZEPOSE_33),
    "rotation": Space("rotation", SMPL_24, 6, SMPL_24, _ALL_24, tuple((j,) for j in _ALL_24), "none"),
}
# The spaces of a landmark estimator. They run side by side, and weights for them ship.
LANDMARK_SPACES = ("image", "world")


def checked_space(name: str, choices: tuple[str, ...] = tuple(SPACES)) -> Space:
    """The space of that name. `ValueError` lists the `choices`."""
    if name not in choices:
        raise ValueError(f"space must be one of {', '.join(choices)}, found {name!r}")
    return SPACES[name]


@lru_cache(maxsize=32)
def space_of(name: str, skeleton: Skeleton) -> Space:
    """The space of that name for the joints of a skeleton. `ValueError` for one without the joints of the network."""
    if skeleton == SPACES[name].skeleton:
        return SPACES[name]
    if name not in LANDMARK_SPACES or skeleton not in LANDMARKS:
        raise ValueError(f"{skeleton.name} has no {name} space: give {SPACES[name].skeleton.name}")
    return _landmarks(name, skeleton)


def scale_floor(space: str, height_px: float) -> float:
    """The smallest body scale of a window: pixels in images of that height, 0 in the other spaces."""
    return SCALE_FLOOR * height_px if space == "image" else 0.0

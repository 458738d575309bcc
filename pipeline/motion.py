"""Motion: the poses of everybody in one frame, and Origin: where each number comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.skeleton import BLAZEPOSE_33, Skeleton

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.ledger import Latency


class Origin(IntEnum):
    """Where a pose comes from. No number leaves the package without one."""

    MISSING = 0  # not known: NaN
    MEASURED = 1  # the estimator looked at this frame
    FILLED = 2  # between two keyframes
    FORECAST = 3  # past the newest keyframe
    HELD = 4  # no better knowledge: the last known pose repeated
    TRACKED = 5  # between two keyframes or past the newest one, and followed there in the picture by a glance


@dataclass(frozen=True)
class Person:
    """One person as an estimator sees them in one frame: landmarks, or the joint rotations of SMPL and who it is.

    Joints that were not seen are NaN, and so are all of `world` where the estimator gives none.
    """

    pose: np.ndarray  # [J, 2] pixels of `Frame.rgb`, x right, y down
    world: np.ndarray  # [J, 3] metres, hip-centred, x right, y down, z away from the camera
    scores: np.ndarray  # [J] 0..1
    rotations: np.ndarray | None = None  # [24, 6] first two columns of the matrices, row by row
    # Who it is. Rotations require it, because they alone do not tell people apart. `check_person` drops it from
    # landmarks.
    id: int | None = None

    @classmethod
    def of_rotations(
        cls,
        rotations: np.ndarray,  # [24, 6]
        scores: np.ndarray,  # [24]
        person_id: int,
    ) -> Person:
        """A person of 24 joints whose rotations are known and whose places are not."""
        joints = len(scores)
        return cls(np.full((joints, 2), np.nan), np.full((joints, 3), np.nan), scores, rotations, person_id)

    def in_space(self, space: str) -> np.ndarray | None:  # -> [J, 2], [J, 3] or [24, 6]
        """Their pose in image, world or rotation space; None where they have none in that space."""
        return {"image": self.pose, "world": self.world, "rotation": self.rotations}[space]


@dataclass(frozen=True, kw_only=True)
class Poses:
    """Poses of P people, at one time or at M times: [...] stands for [P] or for [P, M].

    `sigma` and `world_sigma` estimate how far `poses` and `world` are from what the estimator itself would give;
    `SigmaTable.multiplier` makes bounds of them. They are NaN where a joint is MEASURED or MISSING, and None where the
    weights carry no uncertainty table.
    The J joints are those of the estimator's skeleton: 33 of BlazePose by default. `world` is NaN for people whom the
    estimator never gave in metres, or not for longer than the network looks ahead. A stream of SMPL has 24 joints with
    `rotations`, scores and origin; its `poses` and `world` are NaN.
    """

    poses: np.ndarray  # [..., J, 2] pixels of the upright picture of their own frame
    world: np.ndarray  # [..., J, 3] metres, hip-centred
    scores: np.ndarray  # [..., J] 0..1
    origin: np.ndarray  # [..., J] Origin values, uint8
    sigma: np.ndarray | None = None  # [..., J] pixels
    world_sigma: np.ndarray | None = None  # [..., J] metres
    rotations: np.ndarray | None = None  # [..., 24, 6] first two columns of the matrices, row by row

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, without those that are None."""
        pairs = ((name, getattr(self, name)) for name in _ARRAYS)
        return {name: values for name, values in pairs if values is not None}

    def take(self, rows: np.ndarray) -> Poses:  # [P] bool, or [R] whole numbers
        """The people of these rows, as `array[rows]` does with each array."""
        return Poses(**{name: values[rows] for name, values in self.arrays().items()})

    def at(self, index: int) -> Poses:
        """Everybody at one of the M times: arrays [P, M, ...] become [P, ...]."""
        return Poses(**{name: values[:, index] for name, values in self.arrays().items()})

    def with_missing_row(self) -> Poses:
        """These people and one more row at the end (index -1), in which every joint is MISSING."""
        arrays = {}
        for name, values in self.arrays().items():
            row = np.full((1, *values.shape[1:]), _MISSING_VALUES.get(name, np.nan), values.dtype)
            arrays[name] = np.concatenate([values, row])
        return Poses(**arrays)


_ARRAYS = tuple(array.name for array in fields(Poses))
# The value of a MISSING joint; arrays that are not listed hold NaN there.
_MISSING_VALUES = {"scores": 0.0, "origin": Origin.MISSING}
# For each space, the array of its poses and the array of their sigma. Rotations have no sigma.
SPACE_ARRAYS: dict[str, tuple[str, str | None]] = {
    "image": ("poses", "sigma"),
    "world": ("world", "world_sigma"),
    "rotation": ("rotations", None),
}


@dataclass(frozen=True)
class Expected(Poses):
    """The people followed now, as they are expected at one time, such as that of a keyframe: arrays are [P, ...]."""

    ids: np.ndarray  # [P] int64


@dataclass(frozen=True)
class Forecast(Poses):
    """Poses at F times after a Motion's own, made from keyframes up to its own time only. Arrays are [P, F, ...]."""

    time_s: np.ndarray  # [F]


@dataclass(frozen=True)
class Lookahead(Forecast):
    """Everybody followed now, at F times, from all that is known now. Arrays are [P, F, ...]."""

    ids: np.ndarray  # [P] int64, unique over a stream


@dataclass(frozen=True)
class Motion(Poses):
    """The poses of everybody in one frame: P people in the order of `ids`. A person not known at this time is absent.

    `final` is False where a later keyframe will still improve the poses (lag 0); such a frame comes again.
    `frame.rgb` is the picture, in whose pixels `poses` are. Result files hold pixels of `frame.stored_size`.
    A Stream that reads its own source releases the picture of a final Motion when the loop goes on.
    """

    index: int
    time_s: float
    final: bool
    keyframe: bool
    ids: np.ndarray  # [P] int64, unique over a stream
    measured: tuple[Person, ...] | None  # the estimator's own people, on keyframes only
    frame: Frame | None = field(default=None, repr=False, compare=False)
    skeleton: Skeleton = field(default=BLAZEPOSE_33, repr=False)  # names the joints
    latency: Latency | None = field(default=None, compare=False)  # of a live frame, where it first comes
    _forecaster: Callable[[], Forecast] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def forecast(self) -> Forecast:
        """The poses of the next `horizon_s` seconds after this frame, computed at the first use."""
        if self._forecaster is None:
            raise ValueError("this Motion was not made by a Stream and has no window to forecast from")
        return self._forecaster()


def forecast_of(motion: Motion) -> Forecast | None:
    """The forecast of a Motion, or None where there is none: nobody in view, no horizon, or not made by a Stream."""
    if not len(motion.ids):
        return None
    try:
        forecast = motion.forecast
    except ValueError:
        return None
    return forecast if len(forecast.time_s) else None

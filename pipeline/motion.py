"""What comes out: Motion, the pose of everybody in one frame, and Origin, where each number comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame


class Origin(IntEnum):
    """Where a pose comes from. No number leaves the package without one."""

    MISSING = 0  # not known: NaN
    MEASURED = 1  # the estimator looked at this frame
    FILLED = 2  # between two keyframes
    FORECAST = 3  # past the newest keyframe
    HELD = 4  # no better knowledge: the last known pose repeated


@dataclass(frozen=True)
class Person:
    """One person as an estimator sees them in one frame: landmarks, or the joint rotations of SMPL and who it is."""

    pose: np.ndarray  # [33, 2] pixels of the upright frame, x right, y down
    world: np.ndarray  # [33, 3] metres, hip-centred, x right, y down, z away from the camera
    scores: np.ndarray  # [33] 0..1
    rotations: np.ndarray | None = None  # [24, 6] first two columns of the matrices, row by row
    id: int | None = None  # rotations alone do not tell who is who

    @classmethod
    def of_rotations(
        cls,
        rotations: np.ndarray,  # [24, 6]
        scores: np.ndarray,  # [24]
        person_id: int,
    ) -> Person:
        """Somebody of whom nothing but rotations is known: 24 joints without a place."""
        nowhere = np.full((len(scores), 5), np.nan)
        return cls(nowhere[:, :2], nowhere[:, 2:], scores, rotations, person_id)

    def in_space(self, space: str) -> np.ndarray | None:  # -> [33, 2], [33, 3] or [24, 6]
        """What is known of them in image, world or rotation space."""
        return {"image": self.pose, "world": self.world, "rotation": self.rotations}[space]


@dataclass(frozen=True, kw_only=True)
class Poses:
    """The joints of some people at one time, or at several: [...] stands for [P] people, or for [P, M] at M times.

    `sigma` and `world_sigma` say how far off `poses` and `world` may be from what the estimator itself would have said:
    `SigmaTable.multiplier` makes bounds of them. They are NaN where a joint is MEASURED or MISSING, and None where the
    weights carry no uncertainty table.
    A stream of SMPL has 24 joints instead of 33: `rotations`, with scores and origin; its poses and worlds are NaN.
    """

    poses: np.ndarray  # [..., 33, 2] pixels
    world: np.ndarray  # [..., 33, 3] metres, hip-centred
    scores: np.ndarray  # [..., 33] 0..1
    origin: np.ndarray  # [..., 33] Origin values, uint8
    sigma: np.ndarray | None = None  # [..., 33] pixels
    world_sigma: np.ndarray | None = None  # [..., 33] metres
    rotations: np.ndarray | None = None  # [..., 24, 6] first two columns of the matrices, row by row

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, without those that are None."""
        named = ((name, getattr(self, name)) for name in _ARRAYS)
        return {name: values for name, values in named if values is not None}

    def take(self, rows: np.ndarray) -> Poses:  # [P] bool, or [R] whole numbers
        """The people in these rows."""
        return Poses(**{name: values[rows] for name, values in self.arrays().items()})

    def at(self, time: int) -> Poses:
        """Of people at several times [P, M], everybody at one of them [P]."""
        return Poses(**{name: values[:, time] for name, values in self.arrays().items()})

    def and_nobody(self) -> Poses:
        """The people, and behind them one row, -1, of somebody of whom everything is MISSING."""
        return Poses(
            **{
                name: np.concatenate(
                    [values, np.full((1, *values.shape[1:]), _NOTHING.get(name, np.nan), values.dtype)]
                )
                for name, values in self.arrays().items()
            }
        )


_ARRAYS = tuple(array.name for array in fields(Poses))
# What stands in the arrays for a MISSING joint; NaN in all others.
_NOTHING = {"scores": 0.0, "origin": Origin.MISSING}
# The arrays of a space: of its poses, and of their sigma. Rotations have none.
ARRAYS_OF: dict[str, tuple[str, str | None]] = {
    "image": ("poses", "sigma"),
    "world": ("world", "world_sigma"),
    "rotation": ("rotations", None),
}


@dataclass(frozen=True)
class Forecast(Poses):
    """The F poses ahead of a Motion's own time, made only from keyframes up to that time: arrays are [P, F, ...]."""

    time_s: np.ndarray  # [F]


@dataclass(frozen=True)
class Motion(Poses):
    """Everybody in one frame. P people, in the order of `ids`; a person not known at this time is absent.

    `final` is False for a pose that a later keyframe will still improve (lag 0); such a frame comes again.
    `frame.rgb` is the picture; a Stream that reads its own source lets go of it when the next Motion is asked for.
    """

    index: int
    time_s: float
    final: bool
    keyframe: bool
    ids: np.ndarray  # [P] int64, unique over a stream
    measured: tuple[Person, ...] | None  # what the estimator itself said, on keyframes only
    frame: Frame | None = field(default=None, repr=False, compare=False)
    _forecaster: Callable[[], Forecast] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def forecast(self) -> Forecast:
        """The next `horizon_s` seconds after this frame, computed when first asked for."""
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

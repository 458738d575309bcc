"""Region: a turned square of a picture around one person, which a pose network looks at. Eye: what can look at one."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from math import atan2, cos, hypot, log, pi, sin
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mixsynth_stream.skeleton import BLAZEPOSE_33, Skeleton

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Person


@lru_cache(maxsize=32)
def _torso(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """The indices of the hips, and of the shoulders."""
    hips, shoulders = (
        [skeleton.index(f"{side}_{joint}") for side in ("left", "right")] for joint in ("hip", "shoulder")
    )
    return hips, shoulders


@dataclass(frozen=True)
class Region:
    """A square around (x, y), in pixels, turned by `angle` (radians, clockwise as one sees it)."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    @classmethod
    def of_pose(
        cls,
        pose: np.ndarray,  # [J, 2] pixels
        *,
        margin: float,
        skeleton: Skeleton = BLAZEPOSE_33,  # of the J joints
        width: float = 1.0,  # of the upright part of the square that is looked at, in sides
    ) -> Region | None:
        """The square around the middle of the hips with the shoulders above it, as MediaPipe's networks expect it.

        Half its side is `margin` times the distance of the farthest joint, so that all lie within its width, too. None
        where hips or shoulders are unknown.
        """
        hips, shoulders = (pose[joints].mean(axis=0) for joints in _torso(skeleton))
        up_x, up_y = shoulders - hips
        distances = np.hypot(*(pose - hips).T)
        if width < 1.0:
            across = np.array([-up_y, up_x]) / max(hypot(up_x, up_y), 1e-9)
            distances = np.maximum(distances, np.abs((pose - hips) @ across) / width)
        farthest = np.nanmax(distances, initial=0.0)
        if not (np.isfinite([up_x, up_y]).all() and farthest > 0):
            return None
        return cls(float(hips[0]), float(hips[1]), 2 * margin * float(farthest), atan2(up_x, -up_y))

    def crop(self, rgb: np.ndarray, size: int) -> np.ndarray:  # [H, W, 3] uint8 -> [size, size, 3]
        """The region's own picture, upright. Beyond the picture its border is repeated."""
        step = self.side / size
        right_x, right_y = step * cos(self.angle), step * sin(self.angle)
        half = size / 2
        x, y = self.x - half * (right_x - right_y), self.y - half * (right_y + right_x)
        native: Any = importlib.import_module("mixsynth_stream._C")
        square: np.ndarray = native.crop(rgb, x=x, y=y, right_x=right_x, right_y=right_y, size=size)
        return square

    def in_picture(self, places: np.ndarray) -> np.ndarray:  # [..., 2] shares of the side -> pixels
        """Places in the region's own picture, as places in the whole one."""
        right, down = (cos(self.angle), sin(self.angle)), (-sin(self.angle), cos(self.angle))
        return np.asarray([self.x, self.y] + (places - 0.5) * self.side @ np.array([right, down]))

    def turned(self, world: np.ndarray) -> np.ndarray:  # [J, 3] metres
        """World landmarks that are upright in the region's own picture, as the whole picture sees them."""
        c, s = cos(self.angle), sin(self.angle)
        return world @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])

    def offset(self, other: Region) -> float:
        """The distance of the centres, in sides of the larger one."""
        return hypot(self.x - other.x, self.y - other.y) / max(self.side, other.side)

    def growth(self, other: Region) -> float:
        """How many times as large the other region is, as a logarithm."""
        return log(other.side / self.side)

    def turn(self, other: Region) -> float:
        """By which angle the other region is turned against this one, -pi..pi."""
        return (other.angle - self.angle + pi) % (2 * pi) - pi

    def holds(self, x: float, y: float) -> bool:
        """Whether a place lies in the region, at whatever angle."""
        return hypot(x - self.x, y - self.y) < self.side / 2


class Eye(Protocol):
    """What can look at a region of a picture and find regions where people are. Pictures: [H, W, 3] uint8."""

    skeleton: str
    width: float  # of its network's input, as a share of its height: that part of a region is looked at

    def look(self, rgb: np.ndarray, region: Region) -> Person | None:
        """The person in a region, in pixels of the whole picture; None where nobody is there."""

    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:
        """The regions of people in the picture, or in an upright part of it."""

    def close(self) -> None:
        """Free what the eye holds."""

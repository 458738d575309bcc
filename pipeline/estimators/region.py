"""Region: a turned square of a picture, around one person. What a pose network looks at."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin

import numpy as np

from mixsynth_stream import _C


@dataclass(frozen=True)
class Region:
    """A square around `x`, `y` in pixels, `side` long, whose upward direction is turned by `angle` to the right."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def crop(self, rgb: np.ndarray, size: int) -> np.ndarray:  # [H, W, 3] uint8 -> [size, size, 3]
        step = self.side / size
        right_x, right_y = step * cos(self.angle), step * sin(self.angle)
        x = self.x - size / 2 * (right_x - right_y)
        y = self.y - size / 2 * (right_y + right_x)
        return _C.crop(rgb, x=x, y=y, right_x=right_x, right_y=right_y, size=size)

    def to_picture(self, places):  # [..., 2] in shares of the side -> pixels
        right = np.array([cos(self.angle), sin(self.angle)]); down = np.array([-right[1], right[0]])
        d = (np.asarray(places) - 0.5) * self.side
        return np.array([self.x, self.y]) + d[..., :1] * right + d[..., 1:] * down

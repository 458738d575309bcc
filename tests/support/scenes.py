"""Scenes of textured pictures, for tests of cuts. The same number gives the same scene."""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS = 120, 160


def scene(number: int, index: int = 0, pan_px: float = 0.0) -> np.ndarray:  # -> [120, 160, 3] uint8
    """Picture `index` of a scene: patches of random brightness, before which a dark figure walks 3 pixels a frame."""
    patches = np.random.default_rng(number).uniform(30, 230, (ROWS // 10, 6 * COLUMNS // 10))
    left = round(2 * COLUMNS + pan_px * index)
    grey = np.kron(patches, np.ones((10, 10)))[:, left : left + COLUMNS]
    walked = 3 * index % (COLUMNS - 20)
    grey[ROWS // 3 :, walked : walked + 20] = 20
    return as_rgb(grey)


def as_rgb(grey: np.ndarray) -> np.ndarray:  # [H, W] any numbers -> [H, W, 3] uint8
    """A grey picture, cut off at black and white."""
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def brighter(rgb: np.ndarray, gain: float, add: float = 0.0) -> np.ndarray:  # [H, W, 3] uint8 each
    """The picture in another light."""
    return as_rgb(rgb[:, :, 1] * gain + add)


def shots(*lengths: int) -> list[np.ndarray]:
    """The pictures of scenes 0, 1, 2 and so on, so many of each."""
    return [scene(number, index) for number, length in enumerate(lengths) for index in range(length)]

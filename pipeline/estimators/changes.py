"""Changes: whether something moves in the picture beside those who are followed, so that somebody new may have come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixsynth_stream.pipeline.estimators.region import Region

# Square cells of the picture are compared, so many along its shorter side; of each, so many samples a side.
_CELLS, _SAMPLES = 32, 2
# So many levels of 255 more or less than the whole picture, in so many cells, are neither noise nor a shadow. Somebody
# an eighth as high as the picture covers four cells.
_LEAST_LEVELS, _LEAST_CELLS = 25.0, 2
# Within so many sides of a region's middle, limbs and shadows of its person move.
_REACH = 0.6


class Changes:
    """The picture of the keyframe before, in cells."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new video."""
        self._cells: np.ndarray | None = None
        self._is_free: np.ndarray = np.zeros((0, 0), bool)

    def move_on(self, rgb: np.ndarray, followed: Sequence[Region]) -> bool:  # rgb: [H, W, 3] uint8
        """Whether something changed since the picture before, where nobody was or is followed."""
        cells, side = _cells(rgb)
        before, was_free = self._cells, self._is_free
        self._cells, self._is_free = cells, _is_free(cells.shape, side, followed)
        if before is None or before.shape != cells.shape:
            return True
        change = cells - before
        # Light that changes for the whole picture is nobody.
        moves = np.abs(change - np.median(change)) > _LEAST_LEVELS
        return int((moves & was_free & self._is_free).sum()) >= _LEAST_CELLS


def _cells(rgb: np.ndarray) -> tuple[np.ndarray, int]:
    """The mean green of each cell [R, C], and a cell's side in pixels."""
    step = max(1, min(rgb.shape[:2]) // (_CELLS * _SAMPLES))
    green = rgb[::step, ::step, 1]
    samples = min(_SAMPLES, *green.shape)
    rows, columns = (length // samples for length in green.shape)
    blocks = green[: rows * samples, : columns * samples].reshape(rows, samples, columns, samples)
    return blocks.mean(axis=(1, 3), dtype=np.float32), step * samples


def _is_free(shape: tuple[int, ...], side: int, followed: Sequence[Region]) -> np.ndarray:  # -> [R, C]
    """Which cells lie in nobody's region."""
    y, x = (side * (np.arange(length) + 0.5) for length in shape)
    is_free = np.ones(shape, bool)
    for region in followed:
        is_free &= np.hypot(x - region.x, y[:, None] - region.y) > _REACH * region.side + side / 2
    return is_free

"""The glance of csrc/ in numpy and float64, written to be read: pyramids, flow of points, motion of all joints."""

from __future__ import annotations

import numpy as np

LEVELS, REACH, BORDER = 4, 3, 8
_AROUND = np.arange(-REACH, REACH + 1)
WEIGHTS = np.maximum(1 - (_AROUND[:, None] ** 2 + _AROUND**2) / 16, 0) ** 2  # [7, 7]


def pyramid(luma: np.ndarray, box: tuple[int, int, int, int], shrink: int) -> list[np.ndarray]:  # luma [H, W] 0..255
    """The levels of the part `box`, which is that of `_C.Pyramid.box`, each with a border that repeats its edge."""
    left, top, right, bottom = box
    level = luma[top:bottom, left:right].astype(np.float64)
    level = level.reshape(level.shape[0] // shrink, shrink, -1, shrink).mean((1, 3))
    levels: list[np.ndarray] = []
    while len(levels) < LEVELS and level.size:
        levels.append(np.pad(level, BORDER, mode="edge"))
        height, width = level.shape[0] // 2, level.shape[1] // 2
        level = level[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
    return levels


def _window(level: np.ndarray, x: float, y: float, reach: int = REACH) -> np.ndarray | None:  # [2 reach + 1] squared
    """Pixels around a place, linear between the four next to it; None outside the level and its border."""
    height, width = np.array(level.shape) - 2 * BORDER
    if not (x >= REACH + 1 - BORDER and y >= REACH + 1 - BORDER and x < width and y < height + BORDER - 6):
        return None
    column, row = int(np.floor(x)), int(np.floor(y))
    dx, dy = x - column, y - row
    part = level[row - reach + BORDER : row + reach + 2 + BORDER, column - reach + BORDER : column + reach + 2 + BORDER]
    upper = part[:-1, :-1] * (1 - dx) + part[:-1, 1:] * dx
    lower = part[1:, :-1] * (1 - dx) + part[1:, 1:] * dx
    return np.asarray(upper * (1 - dy) + lower * dy)


def _align(pixels: np.ndarray, gradients: np.ndarray, level: np.ndarray, place: np.ndarray) -> np.ndarray | None:
    """Where in `level` the pixels [7, 7] are, whose gradients are [2, 7, 7]; None where that leads outside."""
    centred = gradients - (gradients * WEIGHTS).sum((1, 2), keepdims=True) / WEIGHTS.sum()
    matrix = np.einsum("ayx,byx,yx->ab", centred, centred, WEIGHTS) + np.eye(2)
    for _ in range(5):
        now = _window(level, *place)
        if now is None:
            return None
        step = np.linalg.solve(matrix, (centred * WEIGHTS * (pixels - now)).sum((1, 2)))
        length = float(np.hypot(*step))
        place = place + step * min(1.0, 2.0 / max(length, 1e-9))
        if length < 0.1:
            break
    return place


def flow(
    before: list[np.ndarray],
    after: list[np.ndarray],
    origin: tuple[int, int],  # left and top of both boxes
    shrink: int,
    point: np.ndarray,  # [2]
    guess: np.ndarray,  # [2]
    top: int = LEVELS - 2,
) -> np.ndarray | None:  # [2]
    """The displacement of a point; None where it is lost."""
    displacement = np.array(guess, np.float64)
    for level in range(min(top, len(before) - 1, len(after) - 1), -1, -1):
        pixel = shrink << level
        start = (point + 0.5) / pixel - 0.5 - np.array(origin) / pixel
        wide = _window(before[level], *start, REACH + 1)
        if wide is None:
            if level == 0:
                return None
            continue
        inner = wide[1:-1, 1:-1]
        gradients = np.stack([wide[1:-1, 2:] - wide[1:-1, :-2], wide[2:, 1:-1] - wide[:-2, 1:-1]]) / 2
        there = _align(inner, gradients, after[level], start + displacement / pixel)
        if there is not None:
            displacement = (there - start) * pixel
        elif level == 0:
            return None
    return displacement


def joint_motion(
    points: np.ndarray,  # [K, 17] complex: each as a sum of joints
    flows: np.ndarray,  # [K, 6] of `_C.flow`
    expected: np.ndarray,  # [2] of every joint
    camera: np.ndarray,  # [2]
    scale: float,
    shrink: int,
) -> np.ndarray:  # [17] complex
    """The motion of all joints that explains the flow of all points best."""
    rows = np.zeros((len(points), 2, 2 * points.shape[1]))
    rows[:, 0, 0::2], rows[:, 0, 1::2] = points.real, -points.imag
    rows[:, 1, 0::2], rows[:, 1, 1::2] = points.imag, points.real
    information = flows[:, [2, 3, 3, 4]].reshape(-1, 2, 2) * shrink**2
    largest = np.linalg.eigvalsh(information)[:, -1]
    information = information / (largest + 5.0)[:, None, None]
    seen = np.isfinite(flows[:, 5])
    trust = np.where(seen, 1 / (1 + (np.minimum(flows[:, 5] / scale, 0.1) / 0.02) ** 2), 0.0)
    own = ((flows[:, :2] - camera) ** 2).sum(1) / scale**2 + 0.01**2
    trust = trust * np.where(seen, own / (own + ((expected - camera) ** 2).sum() / scale**2), 0.0)
    prior = np.tile(expected, points.shape[1])
    weights = trust
    for _ in range(3):
        weighted = information * weights[:, None, None]
        matrix = np.einsum("kai,kab,kbj->ij", rows, weighted, rows) + 0.03 * np.eye(rows.shape[2])
        motion = np.linalg.solve(
            matrix, np.einsum("kai,kab,kb->i", rows, weighted, np.nan_to_num(flows[:, :2])) + 0.03 * prior
        )
        off = flows[:, :2] - rows @ motion
        misfit = np.sqrt(np.einsum("ka,kab,kb->k", off, information, off)) / scale
        weights = trust / (1 + (misfit / 0.01) ** 2)
    return np.asarray(motion[0::2] + 1j * motion[1::2])

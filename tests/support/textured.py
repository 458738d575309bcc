"""Pictures with texture: a background, and people whose limbs move over it, without any file."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mixsynth_stream.skeleton import CORE_17


def texture(height: int, width: int, seed: int, grain: float = 6.0) -> np.ndarray:  # [H, W] float64, 0..255
    """A smooth random picture whose details are about `grain` pixels wide."""
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.exp(-((frequencies * grain) ** 2)) * np.fft.rfft2(
        np.random.default_rng(seed).normal(size=(height, width))
    )
    picture = np.fft.irfft2(spectrum, (height, width))
    return np.asarray(np.clip(128 + 45 * picture / picture.std(), 0, 255))


def shifted(picture: np.ndarray, right: float, down: float) -> np.ndarray:
    """The picture moved by parts of a pixel; what leaves at one side comes back at the other."""
    y = np.fft.fftfreq(picture.shape[0])[:, None]
    x = np.fft.rfftfreq(picture.shape[1])[None]
    turned = np.fft.rfft2(picture) * np.exp(-2j * np.pi * (x * right + y * down))
    return np.asarray(np.fft.irfft2(turned, picture.shape))


_BONES = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "index"), ("hip", "knee"), ("knee", "ankle"))
]


@lru_cache(maxsize=16)
def _skin(seed: int) -> np.ndarray:
    return texture(256, 256, seed, 12.0)


def draw_person(picture: np.ndarray, pose: np.ndarray, seed: int = 1, thick: float = 0.12) -> None:  # pose [17, 2]
    """Draw limbs, torso and head, whose texture moves with them, into a picture [H, W]."""
    at = {name: pose[j] for j, name in enumerate(CORE_17.joints)}
    middle = [(at[f"left_{part}"] + at[f"right_{part}"]) / 2 for part in ("shoulder", "hip")]
    scale = float(np.linalg.norm(middle[0] - middle[1]))
    for side in ("left", "right"):
        _draw_bone(picture, at[f"{side}_shoulder"], at[f"{side}_hip"], 0.16 * scale, scale, seed + 20)
    _draw_bone(picture, middle[0], middle[1], 0.28 * scale, scale, seed)
    _draw_bone(picture, at["nose"], middle[0], 0.18 * scale, scale, seed + 1)
    for k, (a, b) in enumerate(_BONES):
        _draw_bone(picture, at[a], at[b], thick * scale, scale, seed + 2 + k)


def _draw_bone(picture: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float, scale: float, seed: int) -> None:
    low = np.maximum(np.floor(np.minimum(a, b) - radius - 1), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(a, b) + radius + 2), picture.shape[::-1]).astype(int)
    if (high <= low).any():
        return
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float64)
    length = max(float(np.linalg.norm(b - a)), 1e-6)
    along_x, along_y = (b - a) / length
    along = (x - a[0]) * along_x + (y - a[1]) * along_y
    across = (y - a[1]) * along_x - (x - a[0]) * along_y
    beyond = np.maximum(np.maximum(-along, along - length), 0)
    edge = np.clip(radius - np.hypot(across, beyond) + 0.5, 0, 1)
    skin = _skin(seed)
    # The texture is 256 pixels for two body scales, and turns with the bone.
    u, v = along / length * 90 + 128, across / scale * 128 + 128
    column, row = np.clip(u.astype(int), 0, 254), np.clip(v.astype(int), 0, 254)
    du, dv = np.clip(u - column, 0, 1), np.clip(v - row, 0, 1)
    colour = (skin[row, column] * (1 - du) + skin[row, column + 1] * du) * (1 - dv)
    colour += (skin[row + 1, column] * (1 - du) + skin[row + 1, column + 1] * du) * dv
    part = picture[low[1] : high[1], low[0] : high[0]]
    part += edge * (colour - part)

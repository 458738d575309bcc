"""Normalise: root and scale of a window of keyframes, the same few lines for training and for streaming."""

from __future__ import annotations

from math import hypot

import numpy as np

from mixsynth_stream.completion import whole_pose
from mixsynth_stream.skeleton import CORE_17

NORMALISATIONS = ("none", "root", "root_scale")
_HIPS = (CORE_17.index("left_hip"), CORE_17.index("right_hip"))
_SHOULDERS = (CORE_17.index("left_shoulder"), CORE_17.index("right_shoulder"))
# A product with a pose gives 1.3 x the line between the shoulders, the line of the torso, and the middle of the hips.
_LINES = np.zeros((3, len(CORE_17)))
_LINES[0, _SHOULDERS] = 1.3, -1.3
_LINES[1:, _SHOULDERS] = [[0.5], [0.0]]
_LINES[1:, _HIPS] = [[-0.5], [0.5]]


def root_of(pose: np.ndarray) -> np.ndarray:  # [..., 17, D] -> [..., D]
    """The middle of the hips."""
    return np.asarray((pose[..., _HIPS[0], :] + pose[..., _HIPS[1], :]) / 2)


def scale_of(pose: np.ndarray) -> np.ndarray:  # [..., 17, D] -> [...]
    """Body scale of a pose: the torso length, or 1.3 x the shoulder width where that is longer."""
    shoulders, hips = pose.take(_SHOULDERS, axis=-2), pose.take(_HIPS, axis=-2)  # [..., 2, D]
    lines = np.empty((2, *pose.shape[:-2], pose.shape[-1]), pose.dtype)
    np.subtract(shoulders[..., 0, :], shoulders[..., 1, :], out=lines[0])
    np.subtract(_middle(shoulders), _middle(hips), out=lines[1])
    # Not numpy's norm, which takes half the time of the network.
    width, torso = np.sqrt(np.add.reduce(lines * lines, axis=-1))
    return np.asarray(np.maximum(torso, 1.3 * width))


def distance_in_scales(pose: np.ndarray, other: np.ndarray, min_scale: float) -> float:  # [17, D] each
    """Mean distance of the joints that both poses have, in body scales of the larger one; infinite without any.

    `min_scale` is the smallest scale to divide by. Unseen joints are NaN; what they would be counts for the scale only.
    """
    shared = np.isfinite(pose).all(axis=-1) & np.isfinite(other).all(axis=-1)
    if not shared.any():
        return float("inf")
    scales = [float(scale_of(whole_pose(whole))) for whole in (pose, other)]
    return float(np.linalg.norm(pose - other, axis=-1)[shared].mean()) / max([min_scale, *scales, 1e-6])


def _middle(pair: np.ndarray) -> np.ndarray:  # [..., 2, D] -> [..., D]
    return np.asarray((pair[..., 0, :] + pair[..., 1, :]) / 2)


def root_and_scale(
    keyframes: np.ndarray,  # [..., Q+1, 17, D]
    normalisation: str,
    min_scale: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Root [..., 1, 1, D] and scale [..., 1, 1, 1] of each window: normalised = (keyframes - root) / scale.

    Root: the middle of the hips of the newest keyframe. Scale: the median body scale over the keyframes, at least
    `min_scale` (in images 2 % of the frame height, so that a torso seen end-on does not blow up). `ValueError` for an
    unknown normalisation.
    """
    _check_normalisation(normalisation)
    lead = keyframes.shape[:-3]
    if normalisation == "none":
        root = np.zeros((*lead, 1, 1, keyframes.shape[-1]), keyframes.dtype)
    else:
        root = root_of(keyframes[..., -1, :, :])[..., None, None, :]
    if normalisation == "root_scale":
        median = _median(scale_of(keyframes))
        scale = np.maximum(median, max(min_scale, 1e-6))[..., None, None, None].astype(keyframes.dtype)
    else:
        scale = np.ones((*lead, 1, 1, 1), keyframes.dtype)
    return root, scale


def root_and_scale_of_one(
    keyframes: np.ndarray,  # [Q+1, 17, D]
    normalisation: str,
    min_scale: float = 0.0,
) -> tuple[list[float], float]:
    """`root_and_scale` of a single window whose joints are all known: D numbers, and one.

    It makes few calls of numpy: for one window `root_and_scale` takes half the time of the network.
    """
    _check_normalisation(normalisation)
    if normalisation == "none":
        return [0.0] * keyframes.shape[-1], 1.0
    if normalisation == "root":
        return root_of(keyframes[-1]).tolist(), 1.0
    lines = (_LINES @ keyframes).tolist()  # [Q+1, 3, D]
    sizes = sorted([max(hypot(*width), hypot(*torso)) for width, torso, _ in lines])
    middle = len(sizes) // 2
    return lines[-1][2], max((sizes[middle] + sizes[-middle - 1]) / 2, min_scale, 1e-6)


def _check_normalisation(normalisation: str) -> None:
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, found {normalisation!r}")


def _median(numbers: np.ndarray) -> np.ndarray:  # [..., M] -> [...]
    """The median of a few numbers, for which numpy's own is slow."""
    in_order, middle = np.sort(numbers, axis=-1), numbers.shape[-1] // 2
    if numbers.shape[-1] % 2:
        return np.asarray(in_order[..., middle])
    return np.asarray((in_order[..., middle - 1] + in_order[..., middle]) / 2)

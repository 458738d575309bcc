"""Normalise: what keyframes go through before the network, the same few lines for training and for streaming.

Root and scale of a window; and joints that nobody saw stand where they are expected. The network takes all of its
joints at once: one that an estimator never gives disturbs the others least there, and what the network makes of it is
never shown. An expectation is a weighted mean of the joints that were seen: linear regression on the second moments of
the body, about any origin, of any size and direction, so that the same weights serve pixels and metres.
`docs/skeletons.md` has what that costs.
"""

from __future__ import annotations

from functools import lru_cache
from math import hypot

import numpy as np

from mixsynth_stream.skeleton import CORE_17

NORMALISATIONS = ("none", "root", "root_scale")
_HIPS = (CORE_17.index("left_hip"), CORE_17.index("right_hip"))
_SHOULDERS = (CORE_17.index("left_shoulder"), CORE_17.index("right_shoulder"))
# A product with a pose gives 1.3 x the line between the shoulders, the line of the torso, and the middle of the hips.
_LINES = np.zeros((3, len(CORE_17)))
_LINES[0, _SHOULDERS] = 1.3, -1.3
_LINES[1:, _SHOULDERS] = [[0.5], [0.0]]
_LINES[1:, _HIPS] = [[-0.5], [0.5]]

# Mean products of places about the middle of the hips, in square metres: E[a . b], of the joints of one side among each
# other, and with those of the other side. `scripts/fit_moments.py` prints them from motion capture.
_PARTS = ("shoulder", "elbow", "wrist", "index", "hip", "knee", "ankle", "foot_index")
_NOSE = 0.341
_WITH_NOSE = "0.294 0.227 0.256 0.265 -0.000 -0.157 -0.387 -0.393"
_SAME_SIDE = """
0.283
0.244 0.282
0.266 0.323 0.420
0.273 0.335 0.448 0.484
0.014 0.027 0.029 0.029 0.009
-0.128 -0.064 -0.052 -0.052 0.013 0.165
-0.322 -0.208 -0.216 -0.224 0.014 0.279 0.580
-0.334 -0.211 -0.206 -0.211 0.016 0.306 0.610 0.661
"""
_OTHER_SIDE = """
0.237
0.158 0.090
0.174 0.113 0.169
0.181 0.124 0.190 0.215
-0.014 -0.027 -0.029 -0.029 -0.009
-0.164 -0.137 -0.127 -0.126 -0.013 0.107
-0.362 -0.290 -0.300 -0.307 -0.014 0.209 0.476
-0.380 -0.303 -0.301 -0.306 -0.016 0.229 0.498 0.535
"""
# A joint that is seen may be off by this square of metres.
_SEEN_NOISE = 0.01
# The body may stand anywhere: a variance that is large beside its own makes the weights of each joint add up to 1.
_ANYWHERE = 100.0


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
    finite = np.isfinite(pose) & np.isfinite(other)
    if finite.all():
        return float(distances_in_scales(pose, other, min_scale))
    shared = finite.all(axis=-1)
    if not shared.any():
        return float("inf")
    scales = [float(scale_of(whole_pose(whole))) for whole in (pose, other)]
    return float(np.linalg.norm(pose - other, axis=-1)[shared].mean()) / max([min_scale, *scales, 1e-6])


def distances_in_scales(
    poses: np.ndarray,  # [..., 17, D]
    other: np.ndarray,  # [17, D]
    min_scale: float,
) -> np.ndarray:  # [...]
    """`distance_in_scales` of many poses from one."""
    if not (np.isfinite(poses) & np.isfinite(other)).all():
        rows = [distance_in_scales(pose, other, min_scale) for pose in poses.reshape(-1, *other.shape)]
        return np.array(rows).reshape(poses.shape[:-2])
    differences = poses - other
    distances = np.sqrt(np.add.reduce(differences * differences, axis=-1))
    scales = np.maximum(scale_of(poses), max(min_scale, float(scale_of(other)), 1e-6))
    return np.asarray(np.add.reduce(distances, axis=-1) / len(other) / scales)


def whole_pose(pose: np.ndarray) -> np.ndarray:  # [..., 17, D], NaN where a joint was not seen -> [..., 17, D]
    """The pose with every joint: the same array where nothing is missing, and all NaN where nothing was seen.

    Of several poses, the joints that one lacks are taken as missing in all.
    """
    finite = np.isfinite(pose).all(axis=-1)
    if finite.all():
        return pose
    seen = finite.reshape(-1, finite.shape[-1]).all(axis=0)
    if not seen.any():
        return np.full_like(pose, np.nan)
    result = pose.copy()
    result[..., ~seen, :] = weights(tuple(seen.tolist())) @ pose[..., seen, :]
    return result


@lru_cache(maxsize=256)
def weights(seen: tuple[bool, ...]) -> np.ndarray:  # 17 -> [missing, seen]
    """The weight of each joint that was seen in each one that was not; those of one joint add up to 1."""
    is_seen = np.array(seen)
    moments = _moments() + _ANYWHERE
    of_seen = moments[np.ix_(is_seen, is_seen)] + _SEEN_NOISE * np.eye(int(is_seen.sum()))
    result = np.linalg.solve(of_seen, moments[np.ix_(is_seen, ~is_seen)]).T
    result /= result.sum(axis=1, keepdims=True)
    result.setflags(write=False)
    return np.asarray(result)


@lru_cache(maxsize=1)
def _moments() -> np.ndarray:  # [17, 17]
    count = len(_PARTS)
    sides = [_symmetric(_SAME_SIDE), _symmetric(_OTHER_SIDE)]
    with_nose = np.array([float(number) for number in _WITH_NOSE.split()])
    blocks = np.full((2 * count + 1, 2 * count + 1), _NOSE)
    blocks[0, 1:] = blocks[1:, 0] = np.tile(with_nose, 2)
    blocks[1:, 1:] = np.block([sides, sides[::-1]])
    names = ["nose", *(f"{side}_{part}" for side in ("left", "right") for part in _PARTS)]
    order = [names.index(joint) for joint in CORE_17.joints]
    return np.asarray(blocks[np.ix_(order, order)])


def _symmetric(rows: str) -> np.ndarray:  # [8, 8]
    """A matrix from the lines of its lower triangle."""
    numbers = [[float(number) for number in row.split()] for row in rows.split("\n") if row]
    lower = np.array([row + [0.0] * (len(numbers) - len(row)) for row in numbers])
    return np.asarray(lower + np.tril(lower, -1).T)


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

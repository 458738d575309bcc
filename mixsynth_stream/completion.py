"""Completion: where the network's joints are expected that nobody saw, from those that were seen.

The network takes all of its joints at once. A joint that an estimator never gives stands where it is expected, so that
it disturbs the others least; what the network makes of it is never shown. Its expectation is a weighted mean of the
joints that were seen: linear regression on the second moments of the body, about any origin, of any size and direction.
So the same weights serve pixels and metres. `docs/skeletons.md` has what that costs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mixsynth_stream.skeleton import CORE_17

# Mean products of places about the middle of the hips, in square metres: E[a . b], of the joints of one side among each
# other, and with those of the other side. `scripts/fit_completion.py` prints them from motion capture.
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

"""Breakdown: errors by groups of joints, and by bands of the joints' true speed.

P-MPJPE of a part: the whole pose is aligned, and the errors of the part's joints count. Accel error: the band is that
of the joint's speed in the middle one of its three frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mixsynth_stream.evaluate.scores import NETWORK, Row, simple_methods
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.skeleton import CORE_17

# The joints of each group, without their sides.
_PARTS = {
    "head": ("nose",),
    "shoulders": ("shoulder",),
    "elbows": ("elbow",),
    "wrists": ("wrist", "index"),
    "hips": ("hip",),
    "knees": ("knee",),
    "ankles": ("ankle", "foot_index"),
}
JOINT_GROUPS: dict[str, list[int]] = {
    group: [j for j, name in enumerate(CORE_17.joints) if name.removeprefix("left_").removeprefix("right_") in parts]
    for group, parts in _PARTS.items()
}
# In torso lengths a second.
_BAND_LIMITS = (0.5, 1.0, 2.0, 4.0)
SPEED_BANDS = ("<0.5", "0.5-1", "1-2", "2-4", ">4")


def joint_speed(truth: np.ndarray, rate_hz: float) -> np.ndarray:  # [B, T, 17, D] -> [B, T, 17]
    """True speed of each joint in torso lengths a second, over two steps. NaN truth: the speed is not known."""
    torso = np.nanmedian(scale_of(truth), axis=1)[:, None, None]
    return np.asarray(np.linalg.norm(np.gradient(truth, axis=1), axis=-1) * rate_hz / torso)


def breakdown(
    errors: dict[str, np.ndarray],  # by method, [B, M, 17]; NaN where the truth is not known
    speed: np.ndarray,  # [B, M, 17] torso lengths a second
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """(`group` or `band` of the case, errors by method [B, M, 17 or fewer]) for every group and band."""
    for group, joints in JOINT_GROUPS.items():
        yield {"group": group}, {method: values[..., joints] for method, values in errors.items()}
    band_of = np.searchsorted(_BAND_LIMITS, speed, side="right")
    for number, band in enumerate(SPEED_BANDS):
        in_band = (band_of == number) & ~np.isnan(speed)
        yield {"band": band}, {method: np.where(in_band, values, np.nan) for method, values in errors.items()}


def detail_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of parts to show: the network with its ratios and, for PCK, which has none, the best simple method."""
    best: dict[tuple[object, ...], Row] = {}
    for row in rows:
        if row.metric.startswith("pck") and row.method in simple_methods(row.question):
            key = (row.question, row.target, row.horizon_ms, row.metric, row.group, row.band)
            if key not in best or row.value > best[key].value:
                best[key] = row
    simple = {id(row) for row in best.values()}
    return [row for row in rows if row.method == NETWORK or id(row) in simple]

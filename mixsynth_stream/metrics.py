"""Metrics: errors between poses, one value a pose; the caller averages over poses. numpy only, a leaf.

In every function NaN in `truth` marks an unknown joint, which is left out. NaN in `predicted` where the truth is known
makes the result NaN, so that a method without an answer cannot look good.
"""

from __future__ import annotations

import numpy as np


def _checked(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape or predicted.ndim < 2:
        raise ValueError(
            f"predicted and truth must both be [..., J, D], found {list(predicted.shape)} and {list(truth.shape)}"
        )
    return predicted, truth


def _mean_over_joints(values: np.ndarray, known: np.ndarray) -> np.ndarray:  # both [..., J] -> [...]
    total = np.where(known, values, 0.0).sum(-1)
    count = known.sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def joint_errors(
    predicted: np.ndarray,  # [..., J, D]
    truth: np.ndarray,  # [..., J, D]
) -> np.ndarray:  # [..., J]
    """Distance of each joint from its truth, in the unit of the input; NaN where the truth is not known."""
    predicted, truth = _checked(predicted, truth)
    return np.asarray(np.linalg.norm(predicted - truth, axis=-1))


def mpjpe(
    predicted: np.ndarray,  # [..., J, D]
    truth: np.ndarray,  # [..., J, D]
) -> np.ndarray:  # [...]
    """Mean per joint position error: the mean distance of the joints, in the unit of the input.

    Source: Ionescu et al., Human3.6M (PAMI 2014), section 5, without its alignment of the root.
    """
    return _mean_over_joints(joint_errors(predicted, truth), ~np.isnan(truth).any(-1))


def p_mpjpe(
    predicted: np.ndarray,  # [..., J, D]
    truth: np.ndarray,  # [..., J, D]
) -> np.ndarray:  # [...]
    """MPJPE after the best similarity (rotation without reflection, translation, scale) of each predicted pose.

    It is in the unit of `truth`. A pose whose truth has an unknown joint gives NaN: the alignment needs all joints.
    Source: "Protocol 2" of Human3.6M evaluations; the least-squares similarity of Umeyama (PAMI 1991).
    """
    return np.asarray(aligned_joint_errors(predicted, truth).mean(-1))


def aligned_joint_errors(
    predicted: np.ndarray,  # [..., J, D]
    truth: np.ndarray,  # [..., J, D]
) -> np.ndarray:  # [..., J]
    """The error of each joint after the alignment of its pose; `p_mpjpe` is their mean."""
    predicted, truth = _checked(predicted, truth)
    usable = np.isfinite(predicted).all((-2, -1)) & np.isfinite(truth).all((-2, -1))
    source = np.where(usable[..., None, None], predicted, 0.0)
    target = np.where(usable[..., None, None], truth, 0.0)
    source = source - source.mean(-2, keepdims=True)
    target = target - target.mean(-2, keepdims=True)
    u, strength, vt = np.linalg.svd(np.swapaxes(target, -1, -2) @ source)
    sign = np.ones_like(strength)
    sign[..., -1] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * sign[..., None, :]) @ vt
    spread = (source**2).sum((-2, -1))
    scale = (strength * sign).sum(-1) / np.where(spread > 0, spread, 1.0)
    aligned = scale[..., None, None] * (source @ np.swapaxes(rotation, -1, -2))
    return np.where(usable[..., None], np.linalg.norm(aligned - target, axis=-1), np.nan)


def accel_error(
    predicted: np.ndarray,  # [..., T, J, D]
    truth: np.ndarray,  # [..., T, J, D]
) -> np.ndarray:  # [..., T-2]
    """Mean distance of the joints' accelerations, in the unit of the input per frame squared.

    Acceleration is the second difference x[t-1] - 2 x[t] + x[t+1], not divided by time: "Accel" in the tables of
    VIBE (Kocabas et al., CVPR 2020), DeciWatch and MixSynthFormer, in mm per frame squared.
    """
    errors = joint_accel_errors(predicted, truth)
    unknown = np.isnan(np.asarray(truth)).any(-1)
    return _mean_over_joints(errors, ~(unknown[..., :-2, :] | unknown[..., 1:-1, :] | unknown[..., 2:, :]))


def joint_accel_errors(
    predicted: np.ndarray,  # [..., T, J, D]
    truth: np.ndarray,  # [..., T, J, D]
) -> np.ndarray:  # [..., T-2, J]
    """The errors whose mean is `accel_error`, one a joint; NaN where one of the three truths is not known."""
    predicted, truth = _checked(predicted, truth)
    if predicted.ndim < 3 or predicted.shape[-3] < 3:
        raise ValueError(f"accel_error needs [..., T, J, D] with T of at least 3, found {list(predicted.shape)}")
    difference = predicted - truth
    second = difference[..., :-2, :, :] - 2 * difference[..., 1:-1, :, :] + difference[..., 2:, :, :]
    return np.asarray(np.linalg.norm(second, axis=-1))


def pck(
    predicted: np.ndarray,  # [..., J, D]
    truth: np.ndarray,  # [..., J, D]
    scale: np.ndarray | float,  # [...] or one number, in the unit of the input
    threshold: float = 0.2,
) -> np.ndarray:  # [...]
    """Percentage of correct keypoints, as a fraction 0..1: joints that are within threshold x scale of the truth.

    The caller chooses `scale`: torso length for PCK@.2, box size on Sub-JHMDB. Source: Yang and Ramanan (PAMI 2013).
    """
    error = joint_errors(predicted, truth)
    limit = np.broadcast_to(threshold * np.asarray(scale, np.float64), error.shape[:-1])[..., None]
    return _mean_over_joints(within(error, limit), ~np.isnan(truth).any(-1))


def within(
    error: np.ndarray,  # [..., J]
    limit: np.ndarray | float,  # broadcasts against error
) -> np.ndarray:  # [..., J]
    """1 where the error is at most the limit, 0 where it is larger, NaN where one of them is NaN."""
    return np.where(np.isnan(error) | np.isnan(limit), np.nan, (error <= limit).astype(np.float64))


def mean_over_joints(errors: np.ndarray) -> np.ndarray:  # [..., J] -> [...]
    """Mean over the joints whose error is known, NaN where there is none."""
    return _mean_over_joints(errors, ~np.isnan(errors))

"""A simulated estimator whose every error is the steady part of the measured one, and poses for it."""

from __future__ import annotations

import numpy as np

from mixsynth_stream.data.estimator_noise import EstimatorNoise

# A table of standard deviations describes errors of one size, which does not grow with speed.
STEADY = EstimatorNoise(
    quality_spread=0.0, limb_spread=0.0, occlusion=0.0, still_share=1.0, speed_growth=0.0, speed_mean_factor=1.0
)
STEPS = 100


def standing(batch: int, dims: int) -> np.ndarray:  # [B, T, 17, D]
    pose = np.random.default_rng(9).normal(0, 1, (17, dims)).astype(np.float32)
    return np.broadcast_to(pose, (batch, STEPS, 17, dims))


def unit(batch: int, size: float) -> np.ndarray:
    return np.full((batch, 1, 1, 1), size, np.float32)

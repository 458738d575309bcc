"""`as_estimator`: the estimator that a user means."""

from __future__ import annotations

import os
from typing import Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.checks import ESTIMATED
from mixsynth_stream.pipeline.estimators.estimator import CallableEstimator, Estimator
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.skeleton import BLAZEPOSE_33, Skeleton


def as_estimator(estimator: Any, skeleton: str | Skeleton | None = None) -> Estimator:
    """An Estimator from an Estimator of ours, the path of an npz recording, or any callable `(rgb, time_s) -> people`.

    A callable says its skeleton by the argument or by an attribute of that name: BlazePose-33 or SMPL-24.
    """
    if isinstance(estimator, (MediaPipeEstimator, ArrayEstimator, CallableEstimator)):
        return estimator
    if isinstance(estimator, (str, os.PathLike)):
        return ArrayEstimator(estimator)
    if not callable(estimator):
        raise ModelError(f"an estimator must be callable as (rgb, time_s) -> people, found {type(estimator).__name__}")
    said = getattr(estimator, "skeleton", None) if skeleton is None else skeleton
    if said is None:
        raise ModelError(
            f"the estimator does not say its skeleton ({' or '.join(ESTIMATED)}): pass as_estimator(..., "
            f"skeleton={BLAZEPOSE_33.name!r}) or set its attribute `skeleton`"
        )
    return CallableEstimator(estimator, said.name if isinstance(said, Skeleton) else str(said))

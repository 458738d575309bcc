"""`as_estimator`: the estimator that a user means. `stream_estimator`: the one that a Stream asks."""

from __future__ import annotations

import importlib
import os
import threading
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, POSE_MODELS, bundle_path
from mixsynth_stream.pipeline.estimators.checks import ESTIMATED
from mixsynth_stream.pipeline.estimators.estimator import CallableEstimator, Estimator
from mixsynth_stream.pipeline.estimators.eye import MediaPipeEye
from mixsynth_stream.pipeline.estimators.follow import FollowingEstimator
from mixsynth_stream.pipeline.estimators.keypoint_files import KeypointFiles
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
from mixsynth_stream.pipeline.estimators.movenet import MOVENETS, MoveNetEye, movenet_path
from mixsynth_stream.pipeline.estimators.onnx.model import ONNX_SUFFIX, OnnxModel, onnx_path, open_onnx
from mixsynth_stream.pipeline.estimators.onnx.regions import OnnxEye
from mixsynth_stream.pipeline.estimators.onnx.yolo import YoloEstimator
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.estimators.region import Eye
from mixsynth_stream.skeleton import BLAZEPOSE_33, SMPL_24, Skeleton
from mixsynth_stream.telemetry import import_onnxruntime

_OURS = (MediaPipeEstimator, FollowingEstimator, YoloEstimator, ArrayEstimator, KeypointFiles, CallableEstimator)
EYES = ("follow", "keyframe")
DEFAULT_EYE = "follow"


def as_estimator(estimator: Any, skeleton: str | Skeleton | None = None) -> Estimator:
    """An Estimator from an Estimator of ours, the path of estimates, or any callable `(rgb, time_s) -> people`.

    Estimates are in an npz, a JSON file, or a folder of JSON files; `skeleton` is theirs where they name none. The
    skeleton of a callable is the argument or its attribute `skeleton`: one of `LANDMARKS`, or SMPL-24.
    """
    if isinstance(estimator, _OURS):
        return estimator
    name = skeleton.name if isinstance(skeleton, Skeleton) else skeleton
    if isinstance(estimator, (str, os.PathLike)):
        is_json = str(estimator).lower().endswith(".json") or os.path.isdir(estimator)
        return KeypointFiles(estimator, name) if is_json else ArrayEstimator(estimator, name)
    if not callable(estimator):
        raise ModelError(f"an estimator must be callable as (rgb, time_s) -> people, found {type(estimator).__name__}")
    name = name or getattr(estimator, "skeleton", None)
    if name is None:
        raise ModelError(
            "the estimator does not say its skeleton: pass as_estimator(..., "
            f"skeleton={BLAZEPOSE_33.name!r}) or set its attribute `skeleton`, to one of "
            f"{', '.join(kind.name for kind in ESTIMATED)}"
        )
    return CallableEstimator(estimator, str(name))


def is_pose_model(choice: Any) -> bool:
    """Whether a user's choice of estimator is a model that is run here, by name or path, or none at all."""
    return choice is None or choice in MOVENETS or is_bundle(str(choice)) or str(choice).endswith(ONNX_SUFFIX)


def is_bundle(model: str) -> bool:
    """Whether a pose model is one of MediaPipe's, by name or path."""
    return model in POSE_MODELS or model.endswith(".task")


def model_path(model: str) -> Path:
    """The file of a pose model, by name or path. `ModelError` where there is none."""
    if not is_pose_model(model):
        names = (*POSE_MODELS, *MOVENETS)
        nearest = get_close_matches(model.lower().replace("_", "-"), names, 1)
        hint = f" (do you mean {nearest[0]}?)" if nearest else ""
        raise ModelError(
            f"there is no pose model {model!r}{hint}: give {', '.join(names)}, or the path of a .task or .onnx file"
        )
    if model in MOVENETS:
        return movenet_path(model)
    return onnx_path(model) if model.endswith(ONNX_SUFFIX) else bundle_path(model)


def model_title(model: str | None) -> str:
    """A pose model's name for people; None is the one that runs by default."""
    if model in MOVENETS:
        return f"MoveNet {model.removeprefix('movenet-').capitalize()}"
    name = Path(model or DEFAULT_MODEL).name
    return f"ONNX {name}" if name.endswith(ONNX_SUFFIX) else f"MediaPipe {name}"


def warm_up(choice: Any) -> threading.Thread | None:
    """Import in a thread what a pose model needs, where the user's choice is one: a camera opens meanwhile."""
    if not is_pose_model(choice):
        return None
    thread = threading.Thread(target=_import_libraries, args=(str(choice),), name="warm up", daemon=True)
    thread.start()
    return thread


def _import_libraries(choice: str) -> None:
    with suppress(ImportError, OSError):  # told by whoever needs it
        importlib.import_module("mediapipe.tasks.python")
        if choice.endswith(ONNX_SUFFIX):
            import_onnxruntime()


def pose_estimator(
    model: str = DEFAULT_MODEL, *, max_people: int = 1, eye: str = DEFAULT_EYE
) -> FollowingEstimator | MediaPipeEstimator | YoloEstimator:
    """A pose model for keyframes. `eye`: one of `EYES`, of which docs/estimator-modes.md has the comparison.

    "follow" looks where people are expected and searches now and then; "keyframe" searches the whole picture each time.
    YOLO pose sees the whole picture in any case. MoveNet and top-down networks follow: else `ValueError`.
    """
    if eye not in EYES:
        raise ValueError(f"eye must be one of {', '.join(EYES)}, found {eye!r}")
    if eye == "keyframe" and not (model in MOVENETS or model.endswith(ONNX_SUFFIX)):
        return MediaPipeEstimator(model, max_people=max_people)
    network = open_network(model)
    if eye == "keyframe" and not isinstance(network, OnnxModel):
        network.close()
        raise ValueError(f"{model} looks where people are expected: leave eye='keyframe' (--eye keyframe) out")
    return estimator_of(network, max_people=max_people)


def open_network(model: str) -> Eye | OnnxModel:
    """What a pose model looks with: an `Eye`, or a network for whole pictures. Several streams may share it."""
    if model in MOVENETS:
        return MoveNetEye(model)
    if not model.endswith(ONNX_SUFFIX):
        return MediaPipeEye(model)
    network = open_onnx(model)
    return OnnxEye(network) if network.is_top_down else network


def estimator_of(network: Eye | OnnxModel, *, max_people: int) -> FollowingEstimator | YoloEstimator:
    """The estimator of one stream that looks with a network."""
    if isinstance(network, OnnxModel):
        return YoloEstimator(network, max_people=max_people)
    return FollowingEstimator(network, max_people=max_people)


def stream_estimator(
    choice: Any, default: Estimator | None, skeleton: str, *, max_people: int, eye: str = DEFAULT_EYE
) -> Estimator:
    """The estimator of a Stream whose networks take `skeleton`: BlazePose-33 stands for all landmarks.

    `choice` is the user's: a pose model (with its `eye`), or what `as_estimator` takes. Without one it is the source's
    own (`default`), or MediaPipe. Raises `ModelError` where an estimator gives other joints than the networks take.
    """
    if choice is None:
        estimator = default
    else:
        estimator = None if is_pose_model(choice) else as_estimator(choice)
    # All landmarks are one to the networks.
    estimated = BLAZEPOSE_33.name if estimator is None else estimator.skeleton
    if is_pose_model(choice) and estimated == BLAZEPOSE_33.name != skeleton:
        raise ModelError(
            f"no pose model here gives the rotations of {SMPL_24.name} that the network takes: "
            "give an estimator of them (recorded .npz, or a callable)"
        )
    if (estimated == SMPL_24.name) != (skeleton == SMPL_24.name):
        raise ModelError(
            f"the estimator gives {estimated}, but the networks need {skeleton}: give weights for "
            f"{estimated}, or another estimator"
        )
    if estimator is not None:
        return estimator
    return pose_estimator(str(choice or DEFAULT_MODEL), max_people=max_people, eye=eye)

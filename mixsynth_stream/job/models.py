"""Models of a job: the networks and the estimator that its options name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.presets import AUTO, shipped_name
from mixsynth_stream.spaces import LANDMARK_SPACES

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model


def load_models(options: JobOptions) -> tuple[Model, ...]:
    """The (image, world) pair of `options.weights`, or the one network for the rotations of SMPL.

    A space without weights in the options gets the shipped ones of the same N. Raises `ValueError` and `ModelError`.
    """
    from mixsynth_stream.skeleton import CORE_17
    from mixsynth_stream.weights import load_model

    models = [load_model(name, options.backend) for name in options.weights]
    by_space = {model.info.space: model for model in models}
    if len(by_space) < len(models):
        raise ValueError(
            f"--weights names two networks for {models[0].info.space} space; give one for image, one for world"
        )
    spacing = models[0].config.sample_interval
    if options.every not in (None, AUTO, spacing):
        raise ValueError(
            f"--every {options.every} does not fit {options.weights[0]}, which has a keyframe every {spacing} steps"
        )
    if "rotation" in by_space:
        if len(models) > 1:
            raise ValueError("weights for rotations of SMPL stand alone: give --weights once")
        return (by_space["rotation"],)
    for name, model in zip(options.weights, models, strict=True):
        try:
            model.expect(CORE_17, model.info.space)
        except ModelError as error:
            raise ModelError(f"--weights {name}: {error}") from None
    for space in LANDMARK_SPACES:
        if space not in by_space:
            by_space[space] = load_model(_shipped_beside(options.weights[0], models[0], space), options.backend)
    return by_space["image"], by_space["world"]


def estimator_choice(options: JobOptions) -> Any:
    """What a Stream takes as its estimator: recorded estimates, a pose model, or None for the usual one."""
    if options.estimates is None or options.skeleton is None:
        return options.estimates or options.pose_model
    from mixsynth_stream.pipeline.estimators.choose import as_estimator

    return as_estimator(options.estimates, options.skeleton)


def _shipped_beside(weights: str, model: Model, space: str) -> str:
    """The name of the shipped weights of another space that go with `model`. `ModelError` where none ship for its N."""
    from mixsynth_stream.weights import shipped_models

    every, shipped = model.config.sample_interval, shipped_models()
    name = shipped_name(space, every)
    if name not in shipped:
        raise ModelError(
            f"--weights {weights} has a keyframe every {every} steps in {model.info.space} space, "
            f"and no {space} weights ship for that (shipped weights: {', '.join(shipped) or 'none'}); give --weights "
            f"twice, the other time with {space} weights of the same --every"
        )
    return name

"""Models of a job: the networks that --weights names, or those that ship."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mixsynth_stream.errors import ModelError

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model


def load_models(args: argparse.Namespace) -> tuple[Model, ...]:
    """The (image, world) pair that --weights names; the space that it leaves out is the shipped one of the same N.

    Weights for the rotations of SMPL are a stream's only ones.
    """
    from mixsynth_stream.skeleton import CORE_17
    from mixsynth_stream.weights import load_model

    models = [load_model(name, args.backend) for name in args.weights]
    by_space = {model.info.space: model for model in models}
    if len(by_space) < len(models):
        raise ValueError(
            f"--weights names two networks for {models[0].info.space} space; give one for image, one for world"
        )
    spacing = models[0].config.sample_interval
    if args.every not in (None, spacing):
        raise ValueError(
            f"--every {args.every} does not fit {args.weights[0]}, which has a keyframe every {spacing} steps"
        )
    if "rotation" in by_space:
        if len(models) > 1:
            raise ValueError("weights for rotations of SMPL stand alone: give --weights once")
        return (by_space["rotation"],)
    for name, model in zip(args.weights, models, strict=True):
        try:
            model.expect(CORE_17, model.info.space)
        except ModelError as error:
            raise ModelError(f"--weights {name}: {error}") from None
    for space in ("image", "world"):
        if space not in by_space:
            by_space[space] = load_model(_shipped_beside(args.weights[0], models[0], space), args.backend)
    return by_space["image"], by_space["world"]


def _shipped_beside(name: str, model: Model, space: str) -> str:
    """The shipped weights of another space that go with `model`. `ModelError` where none ship for its N."""
    from mixsynth_stream.weights import shipped_models

    wanted, shipped = f"{space}-n{model.config.sample_interval}", shipped_models()
    if wanted not in shipped:
        raise ModelError(
            f"--weights {name} has a keyframe every {model.config.sample_interval} steps in {model.info.space} space, "
            f"and no {space} weights ship for that (shipped weights: {', '.join(shipped) or 'none'}); give --weights "
            f"twice, the other time with {space} weights of the same --every"
        )
    return wanted

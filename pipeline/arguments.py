"""Arguments of a Stream: what they may be, and the networks that they name."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from mixsynth_stream.errors import ModelError
from mixsynth_stream.presets import AUTO, AUTO_EVERY, DEFAULT_EVERY, shipped_name
from mixsynth_stream.skeleton import CORE_17, SMPL_24
from mixsynth_stream.spaces import LANDMARK_SPACES
from mixsynth_stream.weights import Model, load_model


def check_numbers(lag: int | None, max_people: int, horizon_s: float) -> None:
    """`ValueError` for a number that no stream can have."""
    if lag not in (None, 0, 1):
        raise ValueError(f"lag must be 0 or 1, found {lag!r}")
    if max_people < 1:
        raise ValueError(f"max_people must be at least 1, found {max_people!r}")
    if not 0 <= horizon_s <= 10:
        raise ValueError(f"horizon_s must lie in 0..10 seconds, found {horizon_s!r}")


def default_every(models: Sequence[Model] | Model | None, glance: bool | None, *, live: bool) -> int | str:
    """Live sources choose their keyframes, where people are followed in the picture by networks for that."""
    return AUTO if live and models is None and glance is not False else DEFAULT_EVERY


def chooses_keyframes(every: int | str, budget: float | str | None, glance: bool | None) -> bool:
    """Whether keyframes are chosen. `ValueError` for what does not go together."""
    if every != AUTO:
        if isinstance(every, bool) or not isinstance(every, Integral):
            raise ValueError(f"every must be a whole number or {AUTO!r}, found {every!r}")
        if budget is not None:
            raise ValueError(f"budget is for every={AUTO!r}, which chooses keyframes; every={every} has a fixed number")
        return False
    if glance is False:
        raise ValueError(
            f"every={AUTO!r} needs the glance, which tells when to look: leave glance=False (--glance off) out, "
            "or give a number of steps"
        )
    return True


def networks(models: Sequence[Model] | Model | None, every: int | str, backend: str) -> tuple[Model, ...]:
    """The user's networks, checked; or the shipped ones for image and world space with that spacing of keyframes."""
    if not models:
        spacing = AUTO_EVERY if every == AUTO else int(every)
        return tuple(load_model(shipped_name(space, spacing), backend) for space in LANDMARK_SPACES)
    checked = _checked(models)
    if every == AUTO and checked[0].info.space != "image":
        raise ValueError(f"every={AUTO!r} follows people in the picture, where rotations are not: give every=N")
    return checked


def _checked(models: Sequence[Model] | Model) -> tuple[Model, ...]:
    """An image and a world network that can run side by side, or one for rotations. `ModelError` for all else."""
    models = tuple(models) if isinstance(models, Sequence) else (models,)
    if len(models) == 1:
        if models[0].info.space != "rotation":
            raise ModelError(
                f"one network for {models[0].info.space} space is not enough: give an (image, world) "
                "pair, or one for rotations"
            )
        models[0].expect(SMPL_24, "rotation")
        return models
    for model, space in zip(models, LANDMARK_SPACES, strict=True):
        model.expect(CORE_17, space)
    image, world = (model.config.sample_interval for model in models)
    if image != world:
        raise ModelError(
            f"both networks must have the same keyframe spacing; found N = {image} (image) and {world} (world)"
        )
    return models

"""`train`: the start of a training, by the recipe that its configuration names. torch is imported only then."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.errors import ModelError
from mixsynth_stream.presets import PREDICTIONS
from mixsynth_stream.train.config import PresetConfig, TrainConfig

if TYPE_CHECKING:
    from mixsynth_stream.train.loop import Recipe


def train(config: TrainConfig | PresetConfig) -> Path:
    """Train, and return the path of the weight file. A checkpoint, the curves as CSV and PNG lie beside it.

    Raises `SourceError` for data that cannot be read and `OutputError` for a folder that cannot be written.
    """
    try:
        from mixsynth_stream.train.loop import fit
    except ModuleNotFoundError as error:
        raise ModelError(f"training needs {error.name}: pip install 'mixsynth-stream[train]'") from error
    return fit(recipe_of(config), config.out, resume=config.resume, patience=config.patience, kernels=config.kernels)


def recipe_of(config: TrainConfig | PresetConfig) -> Recipe:
    """The recipe by which a configuration trains, with its data."""
    from tqdm import tqdm

    from mixsynth_stream.train.mocap import MocapRecipe
    from mixsynth_stream.train.prediction import PredictionRecipe
    from mixsynth_stream.train.published import PresetRecipe

    if isinstance(config, PresetConfig):
        return PredictionRecipe(config) if config.preset in PREDICTIONS else PresetRecipe(config)
    return MocapRecipe(config, progress=partial(tqdm.write, file=sys.stderr))

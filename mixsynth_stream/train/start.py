"""`train`: the start of a training, by the recipe that its configuration names. torch is imported only then."""

from __future__ import annotations

from pathlib import Path

from mixsynth_stream.errors import ModelError
from mixsynth_stream.train.config import PresetConfig, TrainConfig


def train(config: TrainConfig | PresetConfig) -> Path:
    """Train, and return the path of the weight file. A checkpoint, the curves as CSV and PNG lie beside it.

    Raises `SourceError` for data that cannot be read and `OutputError` for a folder that cannot be written.
    """
    try:
        from mixsynth_stream.train import mocap, published
    except ModuleNotFoundError as error:
        raise ModelError(f"training needs {error.name}: pip install 'mixsynth-stream[train]'") from error
    return published.run(config) if isinstance(config, PresetConfig) else mocap.run(config)

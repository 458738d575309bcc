"""Training: two recipes, ours on motion capture and the published ones, for one loop.

    from mixsynth_stream.train import TrainConfig, train
    weights = train(TrainConfig(data=(Path("clips.npz"),), out=Path("trained")))

Importing this package loads neither torch nor numpy; each public name is loaded when first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixsynth_stream.train.config import PresetConfig, TrainConfig
    from mixsynth_stream.train.start import train

__all__ = ["PresetConfig", "TrainConfig", "train"]

_HOME = {"PresetConfig": "config", "TrainConfig": "config", "train": "start"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Convert: a published checkpoint (.pth.tar) to a weight file, without running anything that the checkpoint brings.

Only tensors, containers, strings and numpy numbers are unpickled. presets.py has the published settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.presets import CONVERTED, PRESETS, Preset
from mixsynth_stream.skeleton import SKELETONS

if TYPE_CHECKING:
    import numpy as np

    from mixsynth_stream.config import ModelConfig
    from mixsynth_stream.skeleton import Skeleton
    from mixsynth_stream.weights import WeightsInfo


def convert(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    preset: str | None = None,
    skeleton: str | None = None,
    space: str | None = None,
    rate_hz: float | None = None,
    sample_interval: int | None = None,
    horizon: int = 0,
    normalisation: str | None = None,
    data: str | None = None,
    licence: str = "not stated in the checkpoint",
) -> tuple[ModelConfig, WeightsInfo]:
    """Turn a published checkpoint into a weight file, and return the dimensions and metadata in it.

    Pass a `preset`, or all of skeleton, space, rate_hz, sample_interval and normalisation; a value beside a preset
    replaces the preset's. Raises `ModelError` where the checkpoint is refused or does not fit, `ValueError` on a name
    that does not exist or a value that is missing, `OutputError` where the file cannot be written.
    """
    from mixsynth_stream.parameters import config_from_state_dict
    from mixsynth_stream.weights import WeightsInfo, save_weights

    defaults = PRESETS[_one_of("preset", preset, PRESETS)] if preset is not None else None
    arguments: dict[str, Any] = {
        "skeleton": SKELETONS[_one_of("skeleton", skeleton, CONVERTED)] if skeleton is not None else None,
        "space": space,
        "rate_hz": rate_hz,
        "sample_interval": sample_interval,
        "normalisation": normalisation,
    }
    settings: dict[str, Any] = {
        name: getattr(defaults, name, None) if value is None else value for name, value in arguments.items()
    }
    missing = [name for name, value in settings.items() if value is None]
    if missing:
        raise ValueError(
            f"a checkpoint does not say its {', '.join(missing)}: give them, or a preset ({', '.join(PRESETS)})"
        )
    state = read_checkpoint(path)
    config = config_from_state_dict(state, settings.pop("sample_interval"), horizon)
    if defaults is not None:
        _check_published(str(preset), defaults, config, Path(path))
    joints: Skeleton = settings.pop("skeleton")
    info = WeightsInfo(
        skeleton=joints.name,
        skeleton_joints=joints.joints,
        data=data or (defaults.data if defaults else "not stated in the checkpoint"),
        licence=licence,
        **settings,
    )
    save_weights(out, state, config, info)
    return config, info


def _one_of(setting: str, name: str, choices: Collection[str]) -> str:
    if name not in choices:
        raise ValueError(f"{setting} must be one of {', '.join(choices)}, found {name!r}")
    return name


def _check_published(name: str, preset: Preset, config: ModelConfig, path: Path) -> None:
    for dimension in ("step", "emb_dim", "num_encoder_layers"):
        expected, size = getattr(preset, dimension), getattr(config, dimension)
        if expected != size:
            raise ModelError(
                f"{path} has {dimension} {size}, but the published {name} network has {expected}; "
                "use the preset that it was trained with"
            )


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The float32 parameters in a checkpoint, which may nest them and prefix their names. Raises `ModelError`.

    Only tensors, containers, strings and numpy numbers are read; anything else that a pickle names is refused.
    """
    import pickle

    try:
        import torch
    except ImportError as error:
        raise ModelError(
            f"reading a checkpoint needs torch ({error}); install it with `pip install mixsynth-stream[train]`"
        ) from error
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ModelError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        request = re.search(r"GLOBAL (\S+)", str(error))
        cause = f"it asks for {request[1]}" if request else "it is damaged, or not a torch checkpoint"
        raise ModelError(f"{os.fspath(path)} is refused: {cause}; only tensors and numbers are ever read") from error
    except Exception as error:  # a damaged file can raise anything
        raise ModelError(f"{os.fspath(path)} is damaged or not a torch checkpoint; use an intact file") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{os.fspath(path)} holds no state_dict, found {type(content).__name__}")
    state = {}
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                f"{os.fspath(path)} holds {name!r} of type {type(value).__name__} among its weights; "
                "pass a checkpoint of a MixSynthFormer"
            )
        state[str(name).removeprefix("module.")] = value.detach().float().contiguous().numpy()
    return state


def _numpy_scalars() -> list[Any]:
    # Published checkpoints hold their scores as numpy numbers, and name the constructor by its old or its new module.
    import _codecs

    import numpy as np

    reconstruct = np.float64(0).__reduce__()[0]
    names = [(reconstruct, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    dtypes = {type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?")}
    return [*names, np.dtype, *dtypes, (_codecs.encode, "_codecs.encode")]

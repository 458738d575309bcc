"""`convert`: a published checkpoint (.pth.tar) to a weight file, without running anything that the checkpoint brings.

Nothing is unpickled but tensors, containers, strings and numpy numbers. Published settings: convert_presets.py.
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
    """Turn a published checkpoint into a weight file; returns what was written.

    Give a `preset`, or every one of skeleton, space, rate_hz, sample_interval and normalisation; a value given beside
    a preset replaces the preset's. Raises `ModelError` where the checkpoint is refused or does not fit, `ValueError`
    on a name that does not exist or a value that is missing, `OutputError` where the file cannot be written.
    """
    from mixsynth_stream.parameters import config_from_state_dict
    from mixsynth_stream.weights import WeightsInfo, save_weights

    chosen = PRESETS[_one_of("preset", preset, PRESETS)] if preset is not None else None
    given: dict[str, Any] = {
        "skeleton": SKELETONS[_one_of("skeleton", skeleton, CONVERTED)] if skeleton is not None else None,
        "space": space, "rate_hz": rate_hz, "sample_interval": sample_interval, "normalisation": normalisation,
    }  # fmt: skip
    wanted: dict[str, Any] = {
        name: getattr(chosen, name, None) if value is None else value for name, value in given.items()
    }
    missing = [name for name, value in wanted.items() if value is None]
    if missing:
        raise ValueError(f"a checkpoint does not say its {', '.join(missing)}: give them, or a preset "
                         f"({', '.join(PRESETS)})")  # fmt: skip
    state = read_checkpoint(path)
    config = config_from_state_dict(state, wanted.pop("sample_interval"), horizon)
    if chosen is not None:
        _check_preset(str(preset), chosen, config, Path(path))
    joints: Skeleton = wanted.pop("skeleton")
    info = WeightsInfo(
        skeleton=joints.name,
        skeleton_joints=joints.joints,
        data=data or (chosen.data if chosen else "not stated in the checkpoint"),
        licence=licence,
        **wanted,
    )
    save_weights(out, state, config, info)
    return config, info


def _one_of(what: str, name: str, choices: Collection[str]) -> str:
    if name not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}, found {name!r}")
    return name


def _check_preset(name: str, preset: Preset, config: ModelConfig, path: Path) -> None:
    for dimension in ("step", "emb_dim", "num_encoder_layers"):
        expected, found = getattr(preset, dimension), getattr(config, dimension)
        if expected != found:
            raise ModelError(f"{path} has {dimension} {found}, but the published {name} network has {expected}; "
                             "use the preset that it was trained with")  # fmt: skip


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The float32 parameters in a checkpoint, which may nest them and prefix their names. Raises `ModelError`.

    Only tensors, containers, strings and numpy numbers are read; whatever else a pickle asks for is refused.
    """
    import pickle

    try:
        import torch
    except ImportError as error:
        raise ModelError(f"reading a checkpoint needs torch ({error}); "
                         "install it with `pip install mixsynth-stream[train]`") from error  # fmt: skip
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ModelError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it asks for {asked[1]}" if asked else "it is damaged, or not a torch checkpoint"
        raise ModelError(f"{os.fspath(path)} is refused: {what}; only tensors and numbers are ever read") from error
    except Exception as error:  # a damaged file can raise anything
        raise ModelError(f"{os.fspath(path)} is damaged or not a torch checkpoint; use an intact file") from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise ModelError(f"{os.fspath(path)} holds no state_dict, found {type(found).__name__}")
    state = {}
    for name, value in found.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"{os.fspath(path)} holds {name!r} of type {type(value).__name__} among its weights; "
                             "pass a checkpoint of a MixSynthFormer")  # fmt: skip
        state[str(name).removeprefix("module.")] = value.detach().float().contiguous().numpy()
    return state


def _numpy_scalars() -> list[Any]:
    # Published checkpoints hold their scores as numpy numbers. Pickles name the constructor by its old or new module.
    import _codecs

    import numpy as np

    reconstruct = np.float64(0).__reduce__()[0]
    names = [(reconstruct, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    dtypes = {type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?")}
    return [*names, np.dtype, *dtypes, (_codecs.encode, "_codecs.encode")]

"""`convert`: a published checkpoint (.pth.tar) to a weight file, without running anything that the checkpoint brings.

Settings of the presets: Sun et al., ICCV 2023, and the authors' configuration files. Their two-dimensional data are
fractions of the frame's width and height, their three-dimensional data relative to each frame's own root joint.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import ModelError
from mixsynth_stream.parameters import config_from_state_dict
from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, Skeleton
from mixsynth_stream.weights import WeightsInfo, save_weights

# Order: the annotation of the JHMDB data set.
JHMDB_15 = Skeleton("JHMDB-15", (
    "neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow",
    "right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle",
), ())  # fmt: skip
# Order: the 17 of Human3.6M's 32 joints that move, as VideoPose3D lists them.
H36M_17 = Skeleton("H36M-17", (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax",
    "neck", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
), ())  # fmt: skip
# Order: the 14 joints of LSP, on which SPIN, EFT and PARE are compared.
J14 = Skeleton("J14", (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
), ())  # fmt: skip
# Order: the SMPL body model.
SMPL_24 = Skeleton("SMPL-24", (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
), ())  # fmt: skip
SKELETONS = {s.name: s for s in (CORE_17, BLAZEPOSE_33, JHMDB_15, H36M_17, J14, SMPL_24)}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a published checkpoint does not say about itself."""

    skeleton: Skeleton
    space: str
    rate_hz: float
    sample_interval: int
    step: int
    emb_dim: int
    num_encoder_layers: int
    data: str
    normalisation: str = "none"


def _preset(
    skeleton: Skeleton, space: str, rate_hz: float, shape: tuple[int, int, int, int], data: str
) -> Preset:  # shape = (N, Q, C, L)
    return Preset(skeleton=skeleton, space=space, rate_hz=rate_hz, data=data, sample_interval=shape[0], step=shape[1],
                  emb_dim=shape[2], num_encoder_layers=shape[3])  # fmt: skip


_OWN_ROOT = "each frame relative to its own root, in metres"
PRESETS = {
    "jhmdb": _preset(JHMDB_15, "image", 30, (10, 1, 128, 5),
                     "Sub-JHMDB, SimplePose estimates; fractions of the frame's width and height"),
    "h36m": _preset(H36M_17, "world", 50, (10, 10, 64, 4), f"Human3.6M, FCN estimates; {_OWN_ROOT}"),
    "3dpw-spin": _preset(J14, "world", 30, (10, 5, 32, 4), f"3DPW, SPIN estimates; {_OWN_ROOT}"),
    "3dpw-eft": _preset(J14, "world", 30, (10, 5, 32, 4), f"3DPW, EFT estimates; {_OWN_ROOT}"),
    "3dpw-pare": _preset(J14, "world", 30, (5, 10, 32, 4), f"3DPW, PARE estimates; {_OWN_ROOT}"),
    "3dpw-smpl-pare": _preset(SMPL_24, "rotation", 30, (10, 5, 64, 4), "3DPW, PARE estimates; SMPL pose, 6D rotations"),
    "aist": _preset(J14, "world", 60, (10, 10, 128, 5), f"AIST++, SPIN estimates; {_OWN_ROOT}"),
    "aist-smpl": _preset(SMPL_24, "rotation", 60, (10, 10, 128, 5), "AIST++, SPIN estimates; SMPL pose, 6D rotations"),
}  # fmt: skip


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
    chosen = PRESETS[_one_of("preset", preset, PRESETS)] if preset is not None else None
    given: dict[str, Any] = {
        "skeleton": SKELETONS[_one_of("skeleton", skeleton, SKELETONS)] if skeleton is not None else None,
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


def _one_of(what: str, name: str, choices: Mapping[str, object]) -> str:
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

    reconstruct = np.float64(0).__reduce__()[0]
    names = [(reconstruct, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    dtypes = {type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?")}
    return [*names, np.dtype, *dtypes, (_codecs.encode, "_codecs.encode")]

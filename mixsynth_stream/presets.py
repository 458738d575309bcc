"""Presets: networks known by name, published and shipped, with the settings that a checkpoint does not hold.

Settings: Sun et al., ICCV 2023, and the authors' configuration files. Their two-dimensional data are fractions of the
frame's width and height; their three-dimensional data are relative to each frame's own root joint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, H36M_17, H36M_22, J14, JHMDB_15, SMPL_24, Skeleton
from mixsynth_stream.spaces import LANDMARK_SPACES, SPACES, checked_space

if TYPE_CHECKING:
    import numpy as np

# The skeletons that a checkpoint may have.
CONVERTED = tuple(s.name for s in (CORE_17, BLAZEPOSE_33, JHMDB_15, H36M_17, J14, SMPL_24))


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of a published network that its checkpoint does not hold."""

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
    return Preset(
        skeleton=skeleton,
        space=space,
        rate_hz=rate_hz,
        data=data,
        sample_interval=shape[0],
        step=shape[1],
        emb_dim=shape[2],
        num_encoder_layers=shape[3],
    )


_OWN_ROOT = "each frame relative to its own root, in metres"
# fmt: off
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
}
_EXPMAPS = "Human3.6M exponential maps, root zeroed, 25 Hz; metres"
# Short-term prediction: 10 or 50 frames in, 10 predicted (N = 1, Q = 9 or 49, H = 10). No checkpoint was published, and
# the paper does not state its encoder.
PREDICTIONS = {
    "h36m-prediction": _preset(H36M_22, "world", 25, (1, 9, 64, 4), _EXPMAPS),
    "h36m-prediction-50": _preset(H36M_22, "world", 25, (1, 49, 64, 4), _EXPMAPS),
}
# Recipes that `train` follows and `evaluate` scores.
PRESET_NAMES = (*PRESETS, *PREDICTIONS)
# Name of a shape -> one of its presets: 3DPW's SPIN and EFT have one shape.
_SHAPES = {"jhmdb": "jhmdb", "h36m": "h36m", "3dpw": "3dpw-spin", "3dpw-pare": "3dpw-pare",
           "3dpw-smpl": "3dpw-smpl-pare", "aist": "aist", "aist-smpl": "aist-smpl"}
# fmt: on
# These are of the published training script; the evaluation script has 1, 1.
_REDUCE_TOKEN, _REDUCE_CHANNEL = 4, 1
_PREDICTION_HORIZON = 10
# N of the weights that ship, and the default of them.
SHIPPED_INTERVALS = (5, 10, 15)
DEFAULT_EVERY = 10
# The word for keyframes that come when they are worth it, and N of the weights for these: what was followed in between
# takes the places of keyframes every 5 steps. docs/estimator-modes.md has the comparison.
AUTO, AUTO_EVERY = "auto", 5


def named_preset(name: str) -> Preset:
    """The preset of one of PRESET_NAMES."""
    return PREDICTIONS[name] if name in PREDICTIONS else PRESETS[name]


def published_shapes() -> dict[str, ModelConfig]:
    """The published networks by name."""
    return {name: published_config(preset) for name, preset in _SHAPES.items()}


def published_config(name: str) -> ModelConfig:
    """The published shape of a preset."""
    preset = named_preset(name)
    return ModelConfig(
        sample_interval=preset.sample_interval,
        step=preset.step,
        horizon=_PREDICTION_HORIZON if name in PREDICTIONS else 0,
        joint_dim=len(preset.skeleton) * SPACES[preset.space].dims,
        emb_dim=preset.emb_dim,
        num_encoder_layers=preset.num_encoder_layers,
        reduce_token=_REDUCE_TOKEN,
        reduce_channel=_REDUCE_CHANNEL,
    )


def shipped_config(space: str, sample_interval: int = DEFAULT_EVERY) -> ModelConfig:
    """Dimensions of the weights that ship: 17 joints, five keyframes, and 18 steps (0.6 s) past the next keyframe.

    Rotation space has the same for the 24 joints of SMPL, but no weights ship for it. `ValueError` lists the spaces.
    """
    return ModelConfig(
        sample_interval=sample_interval,
        step=4,
        horizon=sample_interval + 18,
        joint_dim=checked_space(space).joint_dim,
        emb_dim=64,
        num_encoder_layers=4,
        reduce_token=4,
    )


def shipped_name(space: str, sample_interval: int) -> str:
    """The name of weights for a space and an N, `image-n10`."""
    return f"{space}-n{sample_interval}"


def shipped_shapes() -> dict[str, ModelConfig]:
    """The networks that ship, by the names of their weight files."""
    return {shipped_name(space, n): shipped_config(space, n) for space in LANDMARK_SPACES for n in SHIPPED_INTERVALS}


def shipped_weights(name: str) -> dict[str, np.ndarray]:
    """The tensors of a weight file that ships, read without the safetensors package, which a bare machine lacks."""
    import numpy as np

    data = (ASSETS / f"{name}.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8:start])
    del tensors["__metadata__"]
    weights = {}
    for tensor, entry in tensors.items():
        first, last = entry["data_offsets"]
        if entry["dtype"] != "F32":
            raise ModelError(f"weight {tensor} of {name} must be float32, found {entry['dtype']}")
        values = np.frombuffer(data, "<f4", (last - first) // 4, start + first)
        weights[tensor] = values.reshape(entry["shape"]).copy()
    return weights

"""Networks that benchmarks and gates are about: the published shapes and those of the weights that ship."""

from __future__ import annotations

import json

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.convert_presets import PRESETS
from mixsynth_stream.errors import ModelError
from mixsynth_stream.weights import ASSETS, SHIPPED_NORMALISATION, SPACES, shipped_config

# The presets of the published shapes; 3DPW's SPIN and EFT are one shape.
_PRESETS = {"jhmdb": "jhmdb", "h36m": "h36m", "3dpw": "3dpw-spin", "3dpw-pare": "3dpw-pare",
            "3dpw-smpl": "3dpw-smpl-pare", "aist": "aist", "aist-smpl": "aist-smpl"}  # fmt: skip
_SHIPPED_INTERVALS = (5, 10, 15)


def published_shapes() -> dict[str, ModelConfig]:
    """Reduced as the published training script builds them."""
    return {
        name: ModelConfig(
            sample_interval=PRESETS[preset].sample_interval,
            step=PRESETS[preset].step,
            joint_dim=len(PRESETS[preset].skeleton) * SPACES[PRESETS[preset].space],
            emb_dim=PRESETS[preset].emb_dim,
            num_encoder_layers=PRESETS[preset].num_encoder_layers,
            reduce_token=4,
        )
        for name, preset in _PRESETS.items()
    }


def shipped_shapes() -> dict[str, ModelConfig]:
    """By the names of the weight files."""
    return {f"{space}-n{n}": shipped_config(space, n) for space in SHIPPED_NORMALISATION for n in _SHIPPED_INTERVALS}


def shipped_weights(name: str) -> dict[str, np.ndarray]:
    """The tensors of a weight file that ships, read without the safetensors package, which bare machines lack."""
    data = (ASSETS / f"{name}.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8:start])
    del tensors["__metadata__"]
    found = {}
    for tensor, place in tensors.items():
        first, last = place["data_offsets"]
        if place["dtype"] != "F32":
            raise ModelError(f"weight {tensor} of {name} must be float32, found {place['dtype']}")
        values = np.frombuffer(data, "<f4", (last - first) // 4, start + first)
        found[tensor] = values.reshape(place["shape"]).copy()
    return found

"""Parameters of the network: their names and shapes, and the dimensions that these imply.

numpy only, so that weights load without torch.
Source of the names: the MixSynthFormer authors' published network (Sun et al., ICCV 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import ModelError
from mixsynth_stream.interpolation import catmull_rom_matrix

# The paper's constant for squeeze-excite and for the re-weighting Mlp.
SQUEEZE_RATIO = 4


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter, in the order of the published `state_dict`."""
    tokens, channels, width = config.seq_len, config.emb_dim, config.emb_dim * config.expansion_factor
    shapes: dict[str, tuple[int, ...]] = _linear("encoder_emb", config.joint_dim, channels)
    for i in range(config.num_encoder_layers):
        layer = f"encoder.layers.{i}"
        shapes |= _attention(f"{layer}.synth_att.synth_token", channels, tokens, config.reduce_token)
        shapes |= _attention(f"{layer}.synth_att.synth_channel", tokens, channels, config.reduce_channel)
        shapes |= _linear(f"{layer}.synth_att.reweight.fc1", tokens, tokens // SQUEEZE_RATIO)
        shapes |= _linear(f"{layer}.synth_att.reweight.fc2", tokens // SQUEEZE_RATIO, 2 * tokens)
        shapes |= _linear(f"{layer}.synth_att.proj", channels, channels)
        shapes |= _linear(f"{layer}.ff.fc1", channels, width) | _linear(f"{layer}.ff.fc2", width, channels)
        shapes |= _norm(f"{layer}.norm1", channels) | _norm(f"{layer}.norm2", channels)
    shapes |= _linear("l_interp", config.num_keyframes, tokens)
    return shapes | _norm("norm", channels) | _linear("fc", channels, config.joint_dim)


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _attention(name: str, inputs: int, length: int, reduce: int) -> dict[str, tuple[int, ...]]:
    hidden = length // SQUEEZE_RATIO
    squeeze_excite = {f"{name}.se.fc.0.weight": (hidden, length), f"{name}.se.fc.2.weight": (length, hidden)}
    dense = _linear(f"{name}.dense", inputs, length // reduce)
    # The published file has value_reduce even where the factor is 1 and nothing uses it.
    value_reduce = _linear(f"{name}.value_reduce", length, length // reduce)
    return dense | squeeze_excite | value_reduce


def check_shapes(state: Mapping[str, Any], config: ModelConfig) -> None:
    """Raise `ModelError` unless `state` holds exactly the parameters of `config`; values need only a `.shape`."""
    layers = sum(name.endswith(".norm1.weight") for name in state)
    # The layers are counted first, because a damaged file may declare millions of them.
    if layers != config.num_encoder_layers:
        raise ModelError(f"the weights hold {layers} encoder layers, but {config.num_encoder_layers} are declared")
    expected = parameter_shapes(config)
    missing = [name for name in expected if name not in state]
    if missing:
        raise ModelError(f"the weights lack {_first_names(missing)}; this is not a complete MixSynthFormer")
    unknown = [name for name in state if name not in expected]
    if unknown:
        raise ModelError(f"the weights hold {_first_names(unknown)}, which this MixSynthFormer does not have")
    for name, expected_shape in expected.items():
        shape = tuple(state[name].shape)
        if shape != expected_shape:
            raise ModelError(f"weight {name} has shape {list(shape)}, but {config} needs {list(expected_shape)}")


def _first_names(names: list[str]) -> str:
    return f"{', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def config_from_state_dict(state: Mapping[str, Any], sample_interval: int, horizon: int = 0) -> ModelConfig:
    """The dimensions of a published-style `state_dict`, from its shapes alone; `ModelError` says what does not fit.

    The shapes do not tell N and H, only T = N*Q + 1 + H. Reduce factors are the smallest that give these shapes: with
    T = 11, factors 4 and 5 are the same network.
    """
    tokens, num_keyframes = _shape(state, "l_interp.weight")
    channels, joint_dim = _shape(state, "encoder_emb.weight")
    step = num_keyframes - 1
    if step < 1 or tokens != sample_interval * step + 1 + horizon:
        raise ModelError(
            f"l_interp.weight maps {num_keyframes} keyframes to {tokens} poses, but a sample interval of "
            f"{sample_interval} and a horizon of {horizon} give {sample_interval * max(step, 0) + 1 + horizon}; "
            "pass the values that the network was trained with"
        )
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.layers.")}
    if layers != {str(i) for i in range(len(layers))} or not layers:
        raise ModelError(f"the encoder layers must be numbered from 0 without gaps, found {sorted(layers)}")
    width, _ = _shape(state, "encoder.layers.0.ff.fc1.weight")
    if width < channels or width % channels:
        raise ModelError(f"ff.fc1 has {width} outputs, which is not a multiple of the {channels} channels")
    attention = "encoder.layers.0.synth_att"
    config = ModelConfig(
        sample_interval=sample_interval,
        step=step,
        joint_dim=joint_dim,
        emb_dim=channels,
        num_encoder_layers=len(layers),
        horizon=horizon,
        expansion_factor=width // channels,
        reduce_token=_reduce_factor(state, f"{attention}.synth_token.dense.weight", tokens),
        reduce_channel=_reduce_factor(state, f"{attention}.synth_channel.dense.weight", channels),
    )
    check_shapes(state, config)
    return config


def _shape(state: Mapping[str, Any], name: str) -> tuple[int, int]:
    if name not in state:
        raise ModelError(f"the weights lack {name}; this is not a MixSynthFormer state_dict")
    shape = tuple(state[name].shape)
    if len(shape) != 2 or min(shape) < 1:
        raise ModelError(f"weight {name} must be a matrix, found shape {list(shape)}")
    return shape


def _reduce_factor(state: Mapping[str, Any], name: str, length: int) -> int:
    width, _ = _shape(state, name)
    for factor in range(1, length + 1):
        if length // factor == width:
            return factor
    raise ModelError(f"weight {name} has {width} rows, which is {length} divided by no whole reduce factor")


def untrained_state(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """A state whose network is exactly Catmull-Rom interpolation and damped velocity: fc is zero, the rest random."""
    random = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    for name, shape in parameter_shapes(config).items():
        if len(shape) == 2:
            bound = np.sqrt(6.0 / sum(shape))  # Xavier, uniform
            state[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        else:
            state[name] = (np.ones if "norm" in name and name.endswith("weight") else np.zeros)(shape, np.float32)
    start = catmull_rom_matrix(config.sample_interval, config.step, config.horizon)
    state["l_interp.weight"] = start.astype(np.float32)
    state["fc.weight"] = np.zeros_like(state["fc.weight"])
    return state


def random_state(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights as large as trained ones, none of them zero. An untrained network would only interpolate."""
    random = np.random.default_rng(seed)
    state = {}
    for name, shape in parameter_shapes(config).items():
        spread = np.sqrt(6 / sum(shape)) if len(shape) == 2 else 0.5
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        state[name] = (centre + random.uniform(-spread, spread, shape)).astype(np.float32)
    return state

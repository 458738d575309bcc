"""Networks for the tests: published and shipped shapes, random weights, and the paper's maths once more in numpy.

`reference` is written from the paper's formulas, in float64 and window by window. It shares no code with the package.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from support.shapes import ODD as ODD

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.parameters import random_state as random_state
from mixsynth_stream.presets import shipped_config
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.weights import WeightsInfo

# Published settings: (N, Q, C, L, D), with the reduce factors of the published training script.
PUBLISHED = {
    "jhmdb": (10, 1, 128, 5, 30),
    "h36m": (10, 10, 64, 4, 51),
    "3dpw": (10, 5, 32, 4, 42),
    "3dpw-pare": (5, 10, 32, 4, 42),
    "3dpw-smpl": (10, 5, 64, 4, 144),
    "aist": (10, 10, 128, 5, 42),
    "aist-smpl": (10, 10, 128, 5, 144),
}


def published(name: str, reduce_token: int = 4, reduce_channel: int = 1) -> ModelConfig:
    interval, step, channels, layers, joint_dim = PUBLISHED[name]
    return ModelConfig(
        sample_interval=interval,
        step=step,
        emb_dim=channels,
        num_encoder_layers=layers,
        joint_dim=joint_dim,
        reduce_token=reduce_token,
        reduce_channel=reduce_channel,
    )


SHAPES = {name: published(name) for name in PUBLISHED}
SHAPES |= {f"{space}-n{n}": shipped_config(space, n) for space in ("image", "world") for n in (5, 10, 15)}
SHAPES |= {"unreduced": published("3dpw", 1, 1), "default": published("jhmdb", 4, 8)}


@st.composite
def odd_configs(draw: st.DrawFn) -> ModelConfig:
    def size(largest: int) -> int:
        return draw(st.integers(1, largest))

    interval, step, horizon, channels = size(6), size(5), draw(st.integers(0, 9)), size(37)
    return ModelConfig(
        sample_interval=interval,
        step=step,
        horizon=horizon,
        joint_dim=size(21),
        emb_dim=channels,
        num_encoder_layers=size(3),
        expansion_factor=size(4),
        reduce_token=size(interval * step + 1 + horizon),
        reduce_channel=size(channels),
    )


def random_keyframes(config: ModelConfig, batch: int, seed: int = 0) -> np.ndarray:  # [B, Q+1, D]
    shape = (batch, config.num_keyframes, config.joint_dim)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def core_info(space: str = "image") -> WeightsInfo:
    return WeightsInfo(
        skeleton=CORE_17.name,
        skeleton_joints=CORE_17.joints,
        space=space,
        rate_hz=30.0,
        normalisation="root_scale" if space == "image" else "root",
        data="made up for a test",
        licence="CC0-1.0",
        data_hash="00ff",
        metrics={"mpjpe": 0.25},
        date="2026-11-23",
    )


def assert_close(array: np.ndarray, expected: np.ndarray, tolerance: float, name: str) -> None:
    assert array.shape == expected.shape, f"{name}: shape {array.shape}, expected {expected.shape}"
    error = np.abs(array - expected)
    worst = np.unravel_index(np.argmax(error), error.shape)
    assert not np.isnan(error).any(), f"{name} holds NaN"
    assert error[worst] <= tolerance, f"{name}{list(map(int, worst))} = {array[worst]}, expected {expected[worst]}"


def reference(config: ModelConfig, state: dict[str, np.ndarray], keyframes: np.ndarray) -> np.ndarray:
    """[B, Q+1, D] -> [B, T, D]"""
    p = {name: value.astype(np.float64) for name, value in state.items()}
    with np.errstate(over="ignore"):  # a gate may be shut entirely
        return np.stack([_window(config, p, k.astype(np.float64)) for k in keyframes])


def _window(config: ModelConfig, p: dict[str, np.ndarray], keyframes: np.ndarray) -> np.ndarray:
    x0 = p["l_interp.weight"] @ keyframes + p["l_interp.bias"][:, None]  # along time
    x = _linear(p, "encoder_emb", x0)
    for i in range(config.num_encoder_layers):
        layer = f"encoder.layers.{i}"
        x = _layer_norm(p, f"{layer}.norm1", x + _synth_att(config, p, f"{layer}.synth_att", x))
        x = _layer_norm(p, f"{layer}.norm2", x + _mlp(p, f"{layer}.ff", x))
    return _linear(p, "fc", _layer_norm(p, "norm", x)) + x0


def _synth_att(config: ModelConfig, p: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    t = _branch(p, f"{name}.synth_token", x, config.reduce_token)
    c = _branch(p, f"{name}.synth_channel", x.T, config.reduce_channel).T
    scores = _mlp(p, f"{name}.reweight", (t + c).mean(axis=1))
    mixed = np.empty_like(t)
    for i in range(len(t)):  # 2i is the token branch's weight of token i, 2i + 1 the channel branch's
        a_t, a_c = _softmax(scores[2 * i : 2 * i + 2])
        mixed[i] = a_t * t[i] + a_c * c[i]
    return _linear(p, f"{name}.proj", mixed)


def _branch(p: dict[str, np.ndarray], name: str, x: np.ndarray, reduce: int) -> np.ndarray:
    energies = _linear(p, f"{name}.dense", x)
    squeezed = np.maximum(p[f"{name}.se.fc.0.weight"] @ energies.mean(axis=1), 0)
    gate = 1 / (1 + np.exp(-(p[f"{name}.se.fc.2.weight"] @ squeezed)))
    attention = np.stack([_softmax(row) for row in energies * gate[:, None]])
    value = x if reduce == 1 else _linear(p, f"{name}.value_reduce", x.T).T
    return attention @ value


def _linear(p: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _mlp(p: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    hidden = _linear(p, f"{name}.fc1", x)
    gelu = hidden * (1 + np.vectorize(math.erf, otypes=[float])(hidden / math.sqrt(2))) / 2
    return _linear(p, f"{name}.fc2", gelu)


def _layer_norm(p: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def _softmax(e: np.ndarray) -> np.ndarray:
    weights = np.exp(e - e.max())
    return weights / weights.sum()

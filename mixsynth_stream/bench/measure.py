"""Measuring: contenders take turns on one core, and their ratios are taken round by round."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mixsynth_stream.backend import Forward
from mixsynth_stream.bench.encoder.contenders import NATIVE_AVX2
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.parameters import SQUEEZE_RATIO, parameter_shapes


def random_state(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of a trained network's size, no part of them zero: an untrained network's output would be its input."""
    random = np.random.default_rng(seed)
    state = {}
    for name, shape in parameter_shapes(config).items():
        spread = np.sqrt(6 / sum(shape)) if len(shape) == 2 else 0.5
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        state[name] = (centre + random.uniform(-spread, spread, shape)).astype(np.float32)
    return state


def _peaks(taking_part: Sequence[str]) -> dict[str, float]:
    """Multiplications and additions a second that this core could do, in the registers that each contender has."""
    native: Any = importlib.import_module("mixsynth_stream._C")
    peaks = dict.fromkeys(taking_part, float(native.fma_peak()))
    if NATIVE_AVX2 in peaks:
        peaks[NATIVE_AVX2] = float(native.fma_peak(256))
    return peaks


@contextlib.contextmanager
def one_core(core: int | None) -> Iterator[int | str]:
    """Everything inside runs on one core (the last that this process may use, unless told) and on one thread."""
    # Read when torch is first imported.
    os.environ.update({"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    allowed: set[int] = getattr(os, "sched_getaffinity", lambda _: set())(0)
    if core is not None and core not in allowed:
        raise ValueError(f"--core must be one of {sorted(allowed)}, found {core}")
    chosen = core if core is not None else max(allowed, default=None)
    try:
        if chosen is not None:
            os.sched_setaffinity(0, {chosen})
        yield "any" if chosen is None else chosen
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)
        torch.set_num_threads(threads)


def take_turns(names: Sequence[str], rounds: int, seconds: Callable[[str], float]) -> dict[str, list[float]]:
    """`seconds` of each name once a round; every round starts with another one."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for i in range(len(names)):
            name = names[(number + i) % len(names)]
            found[name].append(seconds(name))
    return found


def _seconds(forward: Forward, keyframes: np.ndarray, calls: int) -> float:  # keyframes [B, Q+1, D]
    """The median call."""
    times = []
    for _ in range(calls):
        start = time.process_time()
        forward(keyframes)
        times.append(time.process_time() - start)
    return float(np.median(times))


def flops(config: ModelConfig) -> int:
    """Multiplications and additions in the matrix products of one window of the published network."""
    tokens, channels, keys = config.seq_len, config.emb_dim, config.seq_len // config.reduce_token
    channel_keys = channels // config.reduce_channel
    token = 2 * tokens * channels * keys + (tokens * keys * channels if config.reduce_token > 1 else 0)
    channel = 2 * channels * tokens * channel_keys
    channel += channels * tokens * channel_keys if config.reduce_channel > 1 else 0
    squeeze = sum(2 * n * (n // SQUEEZE_RATIO) for n in (tokens, channels))
    reweight = 3 * tokens * (tokens // SQUEEZE_RATIO)
    feed_forward = (1 + 2 * config.expansion_factor) * tokens * channels**2  # with proj
    layer = token + channel + squeeze + reweight + feed_forward
    ends = config.num_keyframes * tokens * config.joint_dim + 2 * tokens * config.joint_dim * channels
    return 2 * (config.num_encoder_layers * layer + ends)

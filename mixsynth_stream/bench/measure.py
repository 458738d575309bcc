"""Measure: one core, a clock, turns of the contenders, and the operations of a network."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mixsynth_stream.backend import Forward
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.parameters import SQUEEZE_RATIO


@contextlib.contextmanager
def one_core(core: int | None) -> Iterator[int | str]:
    """The block runs on one thread and on `core`; None is the last core that this process may use."""
    # torch reads these when it is first imported.
    os.environ.update({"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    allowed: set[int] = getattr(os, "sched_getaffinity", lambda _: set())(0)
    if core is not None and core not in allowed:
        raise ValueError(f"--core must be one of {sorted(allowed)}, found {core}")
    target_core = core if core is not None else max(allowed, default=None)
    try:
        if target_core is not None:
            os.sched_setaffinity(0, {target_core})
        yield "any" if target_core is None else target_core
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)
        torch.set_num_threads(threads)


def take_turns(names: Sequence[str], rounds: int, seconds: Callable[[str], float]) -> dict[str, list[float]]:
    """`seconds` of each name, one number a round; every round starts with another name."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for i in range(len(names)):
            name = names[(number + i) % len(names)]
            times[name].append(seconds(name))
    return times


def median_seconds(forward: Forward, keyframes: np.ndarray, calls: int) -> float:  # keyframes [B, Q+1, D]
    """Processor time of the median call."""
    times = []
    for _ in range(calls):
        start = time.process_time()
        forward(keyframes)
        times.append(time.process_time() - start)
    return float(np.median(times))


def percentiles_us(times_s: np.ndarray) -> dict[str, float]:  # [R] seconds
    """The 20th, 50th and 80th percentile of a row, in microseconds."""
    p20, p50, p80 = (float(value) for value in np.percentile(1e6 * times_s, [20, 50, 80]))
    return {"p20_us": p20, "p50_us": p50, "p80_us": p80}


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

"""Threads of `bench encoder --threads`: how much faster they make a batch, in wall time, on no fixed core."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.reports import processor, table, write_json

# A round's time is the fastest call in this many seconds of calls, at least three.
_ROUND_S = 0.1

Networks = Mapping[str, tuple[ModelConfig, Mapping[str, np.ndarray]]]


def measure_threads(
    networks: Networks, threads: Sequence[int], batches: Sequence[int], rounds: int, json_path: Path | None
) -> None:
    """Print, and write, how many times as fast each number of threads is as one. Raises `ValueError`, `OutputError`."""
    native: Any = importlib.import_module("mixsynth_stream._C")
    numbers = sorted({1, *threads})
    rows: list[dict[str, Any]] = []
    print(f"{processor()}: one batch shared by threads; microseconds a window, and times as fast as one thread")
    for name, (config, state) in networks.items():
        encoder = native.Encoder(state=dict(state), **dataclasses.asdict(config))
        for batch in batches:
            shape = (batch, config.num_keyframes, config.joint_dim)
            keyframes = np.random.default_rng(batch).standard_normal(shape).astype(np.float32)
            alone = encoder.forward(keyframes)
            for number in numbers:
                if not np.array_equal(encoder.forward(keyframes, threads=number), alone):
                    raise AssertionError(f"{number} threads changed the numbers of {name}")
            seconds = _fastest_calls(encoder.forward, keyframes, numbers, rounds)
            rows += [
                {
                    "case": name,
                    "batch": batch,
                    "contender": f"{number} threads",
                    "p50_us": float(1e6 * np.median(seconds[number])) / batch,
                    "over_one_thread": float(np.median(seconds[1] / seconds[number])),
                }
                for number in numbers
            ]
    print(table([["network, windows", "threads", "microseconds", "times"], *map(_cells, rows)]))
    if json_path is not None:
        write_json(json_path, rows)


def _fastest_calls(
    forward: Callable[..., np.ndarray], keyframes: np.ndarray, numbers: Sequence[int], rounds: int
) -> dict[int, np.ndarray]:  # [R] each
    """Seconds of the fastest call in each round, by the number of threads."""
    fastest: dict[int, list[float]] = {number: [] for number in numbers}
    for _ in range(rounds):
        for number in numbers:
            times: list[float] = []
            while len(times) < 3 or sum(times) < _ROUND_S:
                start = time.perf_counter()
                forward(keyframes, threads=number)
                times.append(time.perf_counter() - start)
            fastest[number].append(min(times))
    return {number: np.array(times) for number, times in fastest.items()}


def _cells(row: Mapping[str, Any]) -> list[str]:
    threads = row["contender"].partition(" ")[0]
    return [f"{row['case']}, {row['batch']}", threads, f"{row['p50_us']:.1f}", f"{row['over_one_thread']:.2f}x"]

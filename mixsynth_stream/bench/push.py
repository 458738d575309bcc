"""`bench push`: what a keyframe costs a `MotionWindow`, beside the bare call of the native encoder inside it.

The two take turns, keyframe by keyframe, in one process pinned to one core. A person has two windows, image and world,
so the two pushes together are compared with the two calls as well. Reading a pose is not part of a push and has a
column of its own: it is the first frame after the keyframe, for which the window works out sigma.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixsynth_stream.bench.measure import one_core
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.reports import processor, table, write_json
from mixsynth_stream.spaces import LANDMARK_SPACES, SPACES
from mixsynth_stream.weights import Model, load_model, shipped_models

_CORE = SPACES["image"].core
# Keyframes before a window is full and the processor has warmed up.
_WARM_UP = 20


@dataclass(frozen=True)
class Times:
    """Seconds of each keyframe: a push, a bare call, and the reading of one frame."""

    push: np.ndarray  # [K]
    call: np.ndarray  # [K]
    read: np.ndarray  # [K]

    def __add__(self, other: Times) -> Times:
        return Times(self.push + other.push, self.call + other.call, self.read + other.read)


def main(args: argparse.Namespace) -> int:
    """Run and print; 1 where a window differs from its network."""
    if args.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, found {args.rounds}")
    models = {name: load_model(name, backend="native") for name in shipped_models()}
    times: dict[str, Times] = {}
    with one_core(args.core) as core:
        for name, model in models.items():
            if not window_matches_network(model):
                print(f"{name}: gate RED, so no speed is measured: the window is not what its network gave")
                return 1
            times[name] = keyframe_times(model, args.rounds)
        for every in sorted({model.config.sample_interval for model in models.values()}):
            pair = [times[shipped_name(space, every)] for space in LANDMARK_SPACES]
            times[f"a person, N = {every}"] = pair[0] + pair[1]
    rows = [case_row(name, case_times) for name, case_times in times.items()]
    print(f"{processor()}, core {core}: microseconds of a keyframe, medians")
    print(table([["", "push", "bare call", "push over call", "read a frame"], *map(_cells, rows)]))
    if args.json is not None:
        write_json(args.json, rows)
    return 0


def _swaying_poses(model: Model, count: int) -> np.ndarray:  # [K, 33, D]
    """Poses of a person who sways; what a call costs does not depend on its input."""
    dims, size = (2, 200.0) if model.info.space == "image" else (3, 1.0)
    random = np.random.default_rng(0)
    still, sway = random.standard_normal((33, dims)), random.standard_normal((33, dims)) * 0.1
    phase = np.arange(count) * model.config.sample_interval / model.info.rate_hz
    return np.asarray(size * (3.0 + still + np.sin(3 * phase)[:, None, None] * sway))


def keyframe_times(model: Model, rounds: int) -> Times:
    """Push, bare call and reading in turns."""
    config, window = model.config, MotionWindow(model)
    keyframes = np.zeros((1, config.num_keyframes, config.joint_dim), np.float32)
    scores, clock = np.ones(33), time.process_time
    times = np.empty((3, rounds + _WARM_UP))
    for k, pose in enumerate(_swaying_poses(model, rounds + _WARM_UP)):
        time_s = k * config.sample_interval / model.info.rate_hz
        ahead = [time_s + 1 / model.info.rate_hz]
        start = clock()
        window.push(pose, scores, time_s)
        push_end = clock()
        model(keyframes)
        call_end = clock()
        window.at(ahead)
        times[:, k] = push_end - start, call_end - push_end, clock() - call_end
    return Times(*times[:, _WARM_UP:])


def window_matches_network(model: Model) -> bool:
    """Whether a full window, read on the grid, gives the network's output for its keyframes."""
    config, rate_hz = model.config, model.info.rate_hz
    poses, window = _swaying_poses(model, config.num_keyframes), MotionWindow(model)
    for k, pose in enumerate(poses):
        window.push(pose, None, k * config.sample_interval / rate_hz)
    core = poses[:, _CORE]
    root, scale = root_and_scale(core, model.info.normalisation)
    inputs = ((core - root) / scale).reshape(1, config.num_keyframes, config.joint_dim)
    expected = model(inputs)[0].reshape(config.seq_len, *core.shape[1:]) * scale + root
    poses_of_window = window.at(np.arange(config.seq_len) / rate_hz).poses[:, _CORE]
    return bool(np.abs(poses_of_window - expected).max() <= 1e-6 * np.abs(expected).max())


def case_row(name: str, times: Times) -> dict[str, Any]:
    """Medians; the ratio is the median of the keyframes' own ratios."""
    return {
        "case": name,
        "push_us": float(1e6 * np.median(times.push)),
        "call_us": float(1e6 * np.median(times.call)),
        "read_us": float(1e6 * np.median(times.read)),
        "push_over_call": float(np.median(times.push / times.call)),
    }


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    times = [f"{row[f'{part}_us']:.0f}" for part in ("push", "call")]
    return [row["case"], *times, f"{row['push_over_call']:.2f}x", f"{row['read_us']:.0f}"]

"""`bench training`: layers of the network in the native extension against torch's, and the steps a second of `train`.

First every gradient is compared with torch's in float64, without dropout. Then the two take turns in one process pinned
to one core, so that other work slows both alike: one pass of a layer a turn, forward and backward; and some whole steps
of `train` a turn, with the drawing of its windows. The preset has its dropout, and random poses: its data do not
ship. Times are the processor time of the process, on one core. `train` itself draws the next windows in a thread of its
own, so a second core makes it faster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mixsynth_stream.bench.measure import one_core, percentiles_us, take_turns
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.h36m import PROTOCOL_RATE_HZ
from mixsynth_stream.data.mocap import data_files
from mixsynth_stream.data.sequences import PoseSequence
from mixsynth_stream.evaluate.preset_score import PredictionScore
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.presets import named_preset, published_config, shipped_shapes
from mixsynth_stream.reports import processor, table, write_json
from mixsynth_stream.train.config import PresetConfig, TrainConfig
from mixsynth_stream.train.devices import Process
from mixsynth_stream.train.loop import BatchPrefetcher, Run
from mixsynth_stream.train.mocap import MocapRecipe
from mixsynth_stream.train.native import use_native, use_torch
from mixsynth_stream.train.prediction import PredictionRecipe
from mixsynth_stream.train.published import PRESET_DROPOUT, Sequences

NATIVE, TORCH = "native", "torch"
# The published recipe that is measured beside the weights that ship.
PRESET = "h36m-prediction"
# A gradient may differ from float64's by this share of the largest number in it: three times what torch's does.
MOST_ERROR = 3e-5
# Windows of which gradients are compared; passes of a layer before any is timed; steps in one turn of `train`.
_GATE_WINDOWS, _WARM_UP, _STEPS_A_TURN = 8, 3, 5
_RANDOM_FRAMES = 5000


def main(args: argparse.Namespace) -> int:
    """Run and print; 1 where gradients are wrong."""
    shapes = bench_shapes()
    names = args.case or list(shapes)
    if unknown := [name for name in names if name not in shapes]:
        raise ValueError(f"--case must be of {', '.join(shapes)}, found {', '.join(unknown)}")
    if args.rounds < 1 or (args.batch is not None and args.batch < 1) or not args.seconds >= 0:
        raise ValueError("--rounds and --batch must be at least 1, and --seconds not negative")
    files = data_files(args.data, has_video=False) if args.seconds > 0 else []
    errors = {name: gradient_errors(shapes[name]) for name in names}
    if failures := gate_failures(errors):
        print("gate RED, so no speed is measured", *failures, sep="\n  ")
        return 1
    rows: list[dict[str, Any]] = []
    with one_core(args.core) as core:
        print(f"{processor()}, core {core}: one layer, forward and backward")
        for label, members in same_layers({name: shapes[name] for name in names}).items():
            batch, dropout = batch_and_dropout(members[0], args.batch)
            seconds = layer_seconds(shapes[members[0]], batch, args.rounds, dropout)
            worst = {way: max(errors[name][way] for name in members) for way in seconds}
            rows += layer_rows(label, batch, seconds, worst)
        head = ["milliseconds", "windows", "p20", "p50", "p80", "over torch", "error"]
        print(table([head, *map(_layer_cells, rows)]))
        if args.seconds > 0:
            print(f"\nsteps of train: windows of {', '.join(path.name for path in files)}")
            configs = [training_config(name, files, batch_and_dropout(name, args.batch)[0]) for name in names]
            steps = [row for config in configs for row in step_rows(config, args.seconds)]
            print(table([["", "windows", "milliseconds", "steps a second", "over torch"], *map(_step_cells, steps)]))
            rows += steps
    if args.json is not None:
        write_json(args.json, rows, packages=("torch",))
    return 0


def bench_shapes() -> dict[str, ModelConfig]:
    """The networks that ship and the preset, by name."""
    return shipped_shapes() | {PRESET: published_config(PRESET)}


def batch_and_dropout(name: str, batch: int | None) -> tuple[int, float]:
    """Windows a step, unless `batch` says otherwise, and the share of dropout, as `train` has them."""
    config = training_config(name, [Path()], batch)
    return config.batch, PRESET_DROPOUT if isinstance(config, PresetConfig) else 0.0


def training_config(name: str, files: Sequence[Path], batch: int | None) -> TrainConfig | PresetConfig:
    """A training that never reaches its last step, after which it would write a file."""
    if name == PRESET:
        return PresetConfig(preset=name, data=Path(), out=Path(), epochs=10**6, batch=batch or 0)
    space, _, every = name.partition("-n")
    config = TrainConfig(data=tuple(files), out=Path(), space=space, every=int(every), steps=10**6)
    return replace(config, batch=batch or config.batch)


class RandomPoses(PredictionRecipe):
    """The recipe of a preset, on poses that wander at random."""

    def load(self) -> tuple[str, Sequences, PredictionScore]:
        skeleton, rng = named_preset(self.config.preset).skeleton, np.random.default_rng(0)
        poses = rng.normal(0, 0.01, (_RANDOM_FRAMES, len(skeleton), 3)).cumsum(axis=0)
        one = PoseSequence(name="random", poses=poses, joints=skeleton.joints, rate_hz=PROTOCOL_RATE_HZ)
        return "prediction", [(poses, poses)], PredictionScore({"validation": [one]}, self.shape)


def gradient_errors(shape: ModelConfig) -> dict[str, float]:
    """The worst gradient of a whole network, as a share of the largest number in it, against torch in float64."""
    torch.manual_seed(0)
    plain = MixSynthFormer(shape, dropout=0.0)
    # An untrained fc is zero, and the layers would get no gradient.
    torch.nn.init.xavier_uniform_(plain.fc.weight)
    native, exact = (MixSynthFormer(shape, dropout=0.0) for _ in range(2))
    for other in (native, exact):
        other.load_state_dict(plain.state_dict())
    use_native(native)
    keyframes = torch.randn(_GATE_WINDOWS, shape.num_keyframes, shape.joint_dim)
    d_out = torch.randn(_GATE_WINDOWS, shape.seq_len, shape.joint_dim)
    exact.double()(keyframes.double()).backward(d_out.double())
    errors = {}
    for way, network in ((NATIVE, native), (TORCH, plain)):
        network(keyframes).backward(d_out)
        errors[way] = max(
            _relative_error(weight.grad, truth.grad)
            for weight, truth in zip(network.parameters(), exact.parameters(), strict=True)
            if truth.grad is not None
        )
    return errors


def _relative_error(gradient: torch.Tensor | None, truth: torch.Tensor) -> float:
    if gradient is None or gradient.shape != truth.shape:
        return float("inf")
    return float((gradient - truth).abs().max() / truth.abs().max())


def gate_failures(errors: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence for every network whose gradients are off."""
    return [
        f"{name}: a gradient of {way} is off by {error:.1e} of its largest number from float64, more than {MOST_ERROR}"
        for name, by_way in errors.items()
        for way, error in by_way.items()
        if not error <= MOST_ERROR
    ]


def same_layers(shapes: Mapping[str, ModelConfig]) -> dict[str, list[str]]:
    """Networks that share a layer, because only the size of a pose differs: `image-n5, world-n5` -> both names."""
    groups: dict[ModelConfig, list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault(replace(shape, joint_dim=1), []).append(name)
    return {", ".join(names): names for names in groups.values()}


def layer_seconds(shape: ModelConfig, batch: int, rounds: int, dropout: float) -> dict[str, list[float]]:
    """Processor time of a layer's pass, forward and backward, inside all that `train` has around it in torch."""
    passes = {}
    for way, x, d_out in ((way, *torch.randn(2, batch, shape.seq_len, shape.emb_dim)) for way in (NATIVE, TORCH)):
        network = MixSynthFormer(replace(shape, num_encoder_layers=1), dropout)
        if way == NATIVE:
            use_native(network)
        passes[way] = _layer_pass(network, x.requires_grad_(), d_out)
    for layer_pass in passes.values():
        for _ in range(_WARM_UP):
            layer_pass()
    return take_turns(list(passes), rounds, lambda way: _processor_time(passes[way]))


def _layer_pass(network: MixSynthFormer, x: torch.Tensor, d_out: torch.Tensor) -> Callable[[], None]:
    def layer_pass() -> None:
        network.zero_grad()
        x.grad = None
        network.encoder(x).backward(d_out)

    return layer_pass


def _processor_time(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def layer_rows(
    label: str, batch: int, seconds: Mapping[str, Sequence[float]], errors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """One row a way; the ratio is the median over the rounds, above 1 where it is faster than torch."""
    torch_s = np.array(seconds[TORCH])
    rows = []
    for way, times in seconds.items():
        labels = {"case": label, "what": "layer", "batch": batch, "contender": way}
        ratio = float(np.median(torch_s / times))
        rows.append(labels | percentiles_us(np.array(times)) | {"over_torch": ratio, "max_error": errors[way]})
    return rows


def step_rows(config: TrainConfig | PresetConfig, seconds: float) -> list[dict[str, Any]]:
    """Processor time of a step of `train` with its layers in the native extension and in torch, `seconds` of each.

    Both learn from the same windows.
    """
    name = config.preset if isinstance(config, PresetConfig) else config.name
    turns: dict[str, list[float]] = {NATIVE: [], TORCH: []}
    with both_ways(config) as runs:
        while min(map(sum, turns.values())) < seconds:
            for way, run in runs.items():
                # Not timed: the windows of this step were drawn during the other's turn.
                run.advance()
                turns[way].append(_processor_time(partial(_take_steps, run)))
    per_step = {way: np.array(times) / _STEPS_A_TURN for way, times in turns.items()}
    rows = []
    for way, times in per_step.items():
        labels = {"case": name, "what": "step of train", "batch": config.batch, "contender": way}
        ratio = float(np.median(per_step[TORCH] / times))
        rows.append({**labels, "p50_us": float(1e6 * np.median(times)), "over_torch": ratio})
    return rows


@contextmanager
def both_ways(config: TrainConfig | PresetConfig) -> Iterator[dict[str, Run]]:
    """Two trainings on this processor at their first step: layers in the native extension, and in torch."""
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1, "blas"))
        runs = {}
        for way in (NATIVE, TORCH):
            recipe = RandomPoses(config) if isinstance(config, PresetConfig) else MocapRecipe(config)
            batches = stack.enter_context(BatchPrefetcher(recipe))
            runs[way] = Run(recipe, config.out, Process(torch.device("cpu")), batches, kernels=False)
        network = runs[TORCH].network
        assert isinstance(network, MixSynthFormer)
        use_torch(network)
        yield runs


def _take_steps(run: Run) -> None:
    for _ in range(_STEPS_A_TURN):
        run.advance()


def _layer_cells(row: Mapping[str, Any]) -> list[str]:
    times = [f"{row[f'{p}_us'] / 1000:.1f}" for p in ("p20", "p50", "p80")]
    name, errors = f"{row['case']}: {row['contender']}", [f"{row['over_torch']:.2f}x", f"{row['max_error']:.0e}"]
    return [name, str(row["batch"]), *times, *errors]


def _step_cells(row: Mapping[str, Any]) -> list[str]:
    milliseconds = row["p50_us"] / 1000
    speeds = [f"{milliseconds:.0f}", f"{1000 / milliseconds:.1f}", f"{row['over_torch']:.2f}x"]
    return [f"{row['case']}: {row['contender']}", str(row["batch"]), *speeds]

"""MocapRecipe: training on motion capture, by Muon and AdamW, warm-up and cosine, a moving average of the weights.

Simulated cameras and a simulated estimator see the windows (data/windows.py). The loop itself is loop.py.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mixsynth_stream.backend import Forward
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.estimator_noise import EstimatorNoise
from mixsynth_stream.data.mocap import Clip, data_hash, load_clips, unique_names
from mixsynth_stream.data.sources import licences, source_rows
from mixsynth_stream.data.windows import Windows, WindowSampler
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.evaluate.sigma_fit import with_uncertainty
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.reports import table
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.spaces import GRID_HZ, SPACES, scale_floor
from mixsynth_stream.train.config import TrainConfig
from mixsynth_stream.train.devices import Process
from mixsynth_stream.train.loop import network_state
from mixsynth_stream.train.muon import Muon
from mixsynth_stream.train.validation import MocapScore
from mixsynth_stream.weights import WeightsInfo, load_weights, save_weights, weights_path

_GRADIENT_LIMIT = 1.0
# Learning rate of AdamW as a share of Muon's.
_ADAMW_LR_SHARE = 0.5
_LAST_LR_SHARE = 0.01
# In body scales or metres. It keeps the gradient finite at zero. A larger value would make slow motion learn the mean
# of rare large errors instead of the usual small one.
_SMALL_ERROR = 0.001
# Settings that a continued training has to share with the one before.
_SETTINGS = ("space", "every", "steps", "batch", "lr", "warmup", "weight_decay", "ema", "seed", "newest_gap_weight",
             "second_gap_weight", "older_weight", "ahead_weight", "velocity_weight")  # fmt: skip


class MocapRecipe:
    """A `Recipe` by the settings of a `TrainConfig`."""

    curves_label = "error / best simple method"
    curves_pattern = "/"
    gradient_limit = _GRADIENT_LIMIT
    draws_long = True

    def __init__(self, config: TrainConfig, progress: Callable[[str], None] | None = None) -> None:
        """`progress` takes a table of the sources of the data, once they are read."""
        self._progress = progress
        self.config, self.name, self.shape = config, config.name, config.model
        self.seed, self.steps, self.validate_every = config.seed, config.steps, config.validate_every
        self._normalisation = SPACES[config.space].normalisation
        self._weights = step_weights(config, self.shape)

    def start(self, process: Process) -> None:
        config = self.config
        self._training, self._validation_sets = _clips(config)
        clips = [clip for file in self._training for clip in file]
        noise = EstimatorNoise(wrong_person=config.wrong_person)
        # The seeds of processes lie far apart, so that none draws the windows of a run with another seed.
        seed = config.seed + 1_000_003 * process.rank
        self._sampler = WindowSampler(clips, self.shape, config.space, seed, noise, dict(config.source_weights))
        if self._progress and process.is_first:
            self._progress(table(source_rows(clips, self._sampler.chances)))
        self._share = process.share(config.batch)
        self._score = MocapScore(self._validation_sets, self.shape, config.space, self._normalisation)
        self._weights = self._weights.to(process.device)

    def settings(self) -> str:
        return _settings(self.config)

    def network(self) -> nn.Module:
        network = MixSynthFormer(self.shape, dropout=0.0)
        if self.config.start:
            network.load_state_dict(_start_state(self.config, self.shape))
        return network

    def optimisers(self, network: nn.Module) -> list[torch.optim.Optimizer]:
        return muon_and_adamw(network, self.config.lr, self.config.weight_decay)

    def learning_rate(self, step: int) -> float:
        return learning_rate(self.config, step)

    def ema_decay(self, step: int) -> float:
        return average_decay(self.config.ema, step)

    def draw(self, step: int) -> tuple[Tensor, ...]:
        return _batch(self._sampler.draw(self._share), self.config.space, self._normalisation)

    def loss(self, output: Tensor, *targets: Tensor) -> Tensor:
        truth, valid, joints = targets
        return motion_loss(output, truth, valid, self._weights, self.config.velocity_weight, joints)

    def measure(self, forward: Forward) -> dict[str, float]:
        return self._score.measure(forward)

    def score(self, errors: dict[str, float]) -> float:
        return self._score.score(errors)

    def random_state(self) -> str:
        return json.dumps(self._sampler.rng.bit_generator.state)

    def set_random_state(self, state: str) -> None:
        self._sampler.rng.bit_generator.state = json.loads(state)

    def finish(self, weights: Path) -> None:
        """Fit the uncertainty table of the best weights; clips that were not trained on set its level."""
        if self.config.every > 1:
            unseen = [clips[::2] for clips in self._validation_sets.values()]
            try:
                with_uncertainty(weights, self._training, unseen=unseen, seed=self.seed)
            except SourceError as error:
                tqdm.write(f"{weights} carries no uncertainty table: {error}", file=sys.stderr)

    def save(self, weights: Path, state: dict[str, np.ndarray], step: int, errors: dict[str, float]) -> None:
        save_weights(weights, state, self.shape, self.info(step, errors))

    def info(self, step: int, errors: dict[str, float]) -> WeightsInfo:
        config = self.config
        return WeightsInfo(
            skeleton=CORE_17.name,
            skeleton_joints=CORE_17.joints,
            space=config.space,
            rate_hz=GRID_HZ,
            normalisation=self._normalisation,
            data=config.data_name or ", ".join(data.name for data in config.data),
            licence=config.licence or licences([clip for file in self._training for clip in file]),
            data_hash=data_hash(config.data),
            metrics={"step": step, **{name: round(value, 5) for name, value in errors.items()}},
        )


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to one percent."""
    return config.lr * rate_share(step, config.steps, config.warmup)


def rate_share(step: int, steps: int, warmup: int) -> float:
    """The learning rate of a step over the largest one."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return _LAST_LR_SHARE + (1 - _LAST_LR_SHARE) * (1 + math.cos(math.pi * progress)) / 2


def average_decay(longest: float, step: int) -> float:
    """What the moving average of the weights keeps in a step: little at first, so that it forgets the start."""
    return min(longest, (1 + step) / (10 + step))


def step_weights(config: TrainConfig, shape: ModelConfig) -> Tensor:  # [T]
    """Weight of each step of the window in the loss, mean 1."""
    age = (shape.newest - np.arange(shape.seq_len)) / shape.sample_interval
    weights = np.select(
        [age < 0, age <= 1, age <= 2],
        [config.ahead_weight, config.newest_gap_weight, config.second_gap_weight],
        config.older_weight,
    )
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def motion_loss(
    output: Tensor,  # [B, T, D] normalised
    truth: Tensor,  # [B, T, 17, axes] normalised
    valid: Tensor,  # [B, T] 0 or 1
    weights: Tensor,  # [T]
    velocity_weight: float,
    joints: Tensor | None = None,  # [B, 17] shares of the joints, mean 1 in each window; None: all the same
) -> Tensor:
    """Mean distance of the joints, which is the error in reports, plus that of their movements from pose to pose."""
    error = output.view_as(truth) - truth
    share = weights * valid
    of_joint = 1.0 if joints is None else joints[:, None]
    position = (_soft_length(error) * of_joint).mean(dim=-1) * share
    step_share = share[:, 1:] * valid[:, :-1]
    velocity = (_soft_length(error[:, 1:] - error[:, :-1]) * of_joint).mean(dim=-1) * step_share
    return position.sum() / share.sum() + velocity_weight * velocity.sum() / step_share.sum()


def _soft_length(error: Tensor) -> Tensor:  # [..., axes] -> [...]
    # The axes are added one by one, because torch is slow at sums of two or three numbers.
    squares = reduce(torch.add, (axis.square() for axis in error.unbind(dim=-1)))
    return (squares + _SMALL_ERROR**2).sqrt() - _SMALL_ERROR


def _batch(windows: Windows, space: str, normalisation: str) -> tuple[Tensor, ...]:
    """Keyframes [B, Q+1, D] and targets [B, T, 17, axes], normalised; valid steps [B, T]; shares of joints [B, 17]."""
    floor = scale_floor(space, FRAME_HEIGHT_PX)
    root, scale = root_and_scale(windows.keyframes, normalisation, floor)
    seen = (
        np.ones((len(windows.keyframes), windows.keyframes.shape[-2]), bool) if windows.seen is None else windows.seen
    )
    keyframes, truth = (
        np.ascontiguousarray((poses - root) / scale, np.float32) for poses in (windows.keyframes, windows.carried)
    )
    return (
        torch.from_numpy(keyframes).flatten(2),
        torch.from_numpy(truth),
        torch.from_numpy(windows.valid.astype(np.float32)),
        torch.from_numpy((seen / seen.mean(axis=1, keepdims=True)).astype(np.float32)),
    )


def muon_and_adamw(network: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the network's layers, AdamW for everything else.

    Muon steps along the nearest orthogonal matrix to the gradient: after the same number of steps it was ahead of AdamW
    alone on every question (docs/experiments.md). Weights outside the layers do not decay, because l_interp starts as
    the best simple interpolation and not at zero.
    """
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in network.named_parameters():
        (matrices if ".layers." in name and parameter.dim() == 2 else rest).append(parameter)
    muon = Muon([{"params": matrices, "lr_share": 1.0}], lr=lr, weight_decay=weight_decay)
    adamw = torch.optim.AdamW([{"params": rest, "lr_share": _ADAMW_LR_SHARE}], lr=lr, weight_decay=0.0, fused=True)
    return [muon, adamw]


def _clips(config: TrainConfig) -> tuple[list[list[Clip]], dict[str, list[Clip]]]:
    """Training clips of each file, and validation clips by the name of their file."""
    files = [load_clips(path) for path in config.data]
    if config.validation:
        names = unique_names(config.validation, [path.stem for path in config.validation])
        return files, {name: load_clips(path) for name, path in zip(names, config.validation, strict=True)}
    subjects = sorted({clip.subject for clips in files for clip in clips})
    if len(subjects) < 2:
        raise SourceError("all clips are of one subject, so none can be kept back; pass --validation with other people")
    validation_subjects = set(subjects[:: max(2, min(10, len(subjects)))])
    training = [[clip for clip in clips if clip.subject not in validation_subjects] for clips in files]
    validation = [clip for clips in files for clip in clips if clip.subject in validation_subjects]
    return [clips for clips in training if clips], {"validation": validation}


def _start_state(config: TrainConfig, shape: ModelConfig) -> dict[str, Tensor]:
    """Parameters of the weights to start from. Raises `ModelError` where they are for another network."""
    assert config.start is not None
    arrays, saved_shape, info = load_weights(weights_path(config.start))
    saved, required = {"space": info.space, **asdict(saved_shape)}, {"space": config.space, **asdict(shape)}
    if saved != required:
        names = [name for name in required if saved[name] != required[name]]
        differences = "; ".join(f"{name} {saved[name]}, here {required[name]}" for name in names)
        raise ModelError(
            f"{config.start} is for another network ({differences}); start from weights of the same --space and --every"
        )
    return network_state(arrays)


def _settings(config: TrainConfig) -> str:
    """All that must not change between a run and its continuation, as JSON."""
    files = {"data": data_hash(config.data), "validation": data_hash(config.validation)}
    # An option stands there only where it is on, so that checkpoints older than the option can still be resumed.
    names = ("wrong_person", "source_weights", "kernels")
    options = {name: value for name in names if (value := getattr(config, name))}
    # torch's Muon keeps its momentum under another name; this entry refuses its checkpoints, which would lose it.
    optimiser = {"optimiser": "Muon, float32"}
    return json.dumps({name: getattr(config, name) for name in _SETTINGS} | options | optimiser | files)

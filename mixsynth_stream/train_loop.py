"""The training loop: Muon and AdamW, warm-up and cosine, a moving average of the weights, exact resuming."""

from __future__ import annotations

import json
import math
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.mocap import Clip, data_hash, load_clips
from mixsynth_stream.data.windows import Windows, WindowSampler
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.train import TrainConfig
from mixsynth_stream.train_curves import Curves
from mixsynth_stream.train_score import Validation
from mixsynth_stream.weights import SHIPPED_NORMALISATION, WeightsInfo, load_weights, save_weights

_GRADIENT_LIMIT = 1.0
# Learning rate of AdamW, where Muon's is 1.
_ADAMW_LR_SHARE = 0.5
_LAST_LR_SHARE = 0.01
# In body scales or metres. Keeps the gradient finite at zero; larger values make slow motion learn the mean of rare
# large errors instead of the usual small one.
_SMALL_ERROR = 0.001


def run(config: TrainConfig) -> Path:
    """See `train.train`."""
    _make_folder(config.out)
    training, validation_sets = _clips(config)
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    shape, normalisation = config.model, SHIPPED_NORMALISATION[config.space]
    network = MixSynthFormer(shape, dropout=0.0)
    if config.start:
        network.load_state_dict(_start_state(config, shape))
    average = MixSynthFormer(shape, dropout=0.0)
    average.load_state_dict(network.state_dict())
    optimisers = _optimisers(network, config)
    sampler = WindowSampler(training, shape, config.space, config.seed)
    validation = Validation(validation_sets, shape, config.space, normalisation)
    weights = step_weights(config, shape)
    curves, best, first = Curves(config.out / config.name), math.inf, 0
    checkpoint = config.out / f"{config.name}.checkpoint.pt"
    if config.resume:
        first, best = _restore(checkpoint, config, network, average, optimisers, sampler, curves)
    target = config.out / f"{config.name}.safetensors"
    with tqdm(total=config.steps, initial=first, unit="step", desc=config.name) as bar:
        for step in range(first, config.steps):
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(config, step) * group["lr_share"]
            keyframes, wanted, valid = _batch(sampler.draw(config.batch), config.space, normalisation)
            loss = motion_loss(network(keyframes), wanted, valid, weights, config.velocity_weight)
            network.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_LIMIT)
            for optimiser in optimisers:
                optimiser.step()
            _follow(average, network, min(config.ema, (1 + step) / (10 + step)))
            curves.add_loss(loss.item())
            bar.update()
            done = step + 1
            if done % config.validate_every and done != config.steps:
                continue
            rows = validation.measure(_caller(average))
            score = validation.score(rows)
            curves.add_row(done, learning_rate(config, step), score, rows)
            bar.set_postfix(score=f"{score:.4f}")
            if score < best:
                best = score
                _write_weights(target, average, config, shape, normalisation, done, rows)
            _save(checkpoint, config, done, best, network, average, optimisers, sampler, curves)
    curves.draw()
    return target


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to one percent."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.lr * (_LAST_LR_SHARE + (1 - _LAST_LR_SHARE) * (1 + math.cos(math.pi * done)) / 2)


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
    said: Tensor,  # [B, T, D] normalised
    wanted: Tensor,  # [B, T, 17, axes] normalised
    valid: Tensor,  # [B, T] 0 or 1
    weights: Tensor,  # [T]
    velocity_weight: float,
) -> Tensor:
    """Mean distance of the joints, which is the error that is reported, plus that of their steps from pose to pose."""
    error = said.view_as(wanted) - wanted
    share = weights * valid
    position = _distance(error).mean(dim=-1) * share
    step_share = share[:, 1:] * valid[:, :-1]
    velocity = _distance(error[:, 1:] - error[:, :-1]).mean(dim=-1) * step_share
    return position.sum() / share.sum() + velocity_weight * velocity.sum() / step_share.sum()


def _distance(error: Tensor) -> Tensor:  # [..., axes] -> [...]
    return (error.square().sum(dim=-1) + _SMALL_ERROR**2).sqrt() - _SMALL_ERROR


def _batch(windows: Windows, space: str, normalisation: str) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised keyframes [B, Q+1, D], normalised targets [B, T, 17, axes] and valid steps [B, T]."""
    floor = 0.02 * FRAME_HEIGHT_PX if space == "image" else 0.0
    root, scale = root_and_scale(windows.keyframes, normalisation, floor)
    keyframes = ((windows.keyframes - root) / scale).astype(np.float32)
    wanted = ((windows.carried - root) / scale).astype(np.float32)
    return (
        torch.from_numpy(keyframes).flatten(2),
        torch.from_numpy(wanted),
        torch.from_numpy(windows.valid.astype(np.float32)),
    )


def _caller(network: MixSynthFormer) -> Callable[[np.ndarray], np.ndarray]:
    def call(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        with torch.no_grad():
            parts = [network(part) for part in torch.from_numpy(keyframes).split(256)]
            return np.asarray(torch.cat(parts).numpy())

    return call


def _optimisers(network: MixSynthFormer, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the encoder's layers, AdamW for everything else.

    Muon (Jordan et al. 2024) steps by the nearest orthogonal matrix to the gradient: in the same number of steps it got
    about as far as AdamW alone in twice as many (docs/experiments.md). No decay outside the layers: the start of
    l_interp is the best simple interpolation, not zero.
    """
    matrices, rest = [], []
    for name, parameter in network.named_parameters():
        (matrices if name.startswith("encoder.layers") and parameter.dim() == 2 else rest).append(parameter)
    muon = torch.optim.Muon(
        [{"params": matrices, "lr_share": 1.0}],
        lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    adamw = torch.optim.AdamW([{"params": rest, "lr_share": _ADAMW_LR_SHARE}], lr=config.lr, weight_decay=0.0)
    return [muon, adamw]


@torch.no_grad()
def _follow(average: MixSynthFormer, network: MixSynthFormer, keep: float) -> None:
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - keep)


def _clips(config: TrainConfig) -> tuple[list[Clip], dict[str, list[Clip]]]:
    """Training clips, and validation clips by the name of their file."""
    training = [clip for path in config.data for clip in load_clips(path)]
    if config.validation:
        return training, {path.stem: load_clips(path) for path in config.validation}
    subjects = sorted({clip.subject for clip in training})
    if len(subjects) < 2:
        raise SourceError("all clips are of one subject, so none can be kept back; pass --validation with other people")
    kept = set(subjects[:: max(2, min(10, len(subjects)))])
    return (
        [clip for clip in training if clip.subject not in kept],
        {"validation": [clip for clip in training if clip.subject in kept]},
    )


def _start_state(config: TrainConfig, shape: ModelConfig) -> dict[str, Tensor]:
    """Parameters of the weights to start from. Raises `ModelError` where they are for another network."""
    assert config.start is not None
    state, found, info = load_weights(config.start)
    if found != shape or info.space != config.space:
        raise ModelError(
            f"{config.start} is for {info.space} space, {found}; this training is for {config.space} space, {shape}"
        )
    return {name: torch.from_numpy(value) for name, value in state.items()}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error


def _write_weights(
    path: Path,
    network: MixSynthFormer,
    config: TrainConfig,
    shape: ModelConfig,
    normalisation: str,
    step: int,
    rows: dict[str, float],
) -> None:
    info = WeightsInfo(
        skeleton=CORE_17.name,
        skeleton_joints=CORE_17.joints,
        space=config.space,
        rate_hz=30.0,
        normalisation=normalisation,
        data=config.data_name or ", ".join(data.name for data in config.data),
        licence=config.licence,
        data_hash=data_hash(config.data),
        metrics={"step": step, **{name: round(value, 5) for name, value in rows.items()}},
    )
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    save_weights(path, state, shape, info)


def _save(
    path: Path,
    config: TrainConfig,
    step: int,
    best: float,
    network: MixSynthFormer,
    average: MixSynthFormer,
    optimisers: list[torch.optim.Optimizer],
    sampler: WindowSampler,
    curves: Curves,
) -> None:
    part = path.with_suffix(".part")
    try:
        torch.save(
            {
                "settings": _settings(config), "step": step, "best": best, "network": network.state_dict(),
                "average": average.state_dict(), "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                "torch_rng": torch.get_rng_state(), "sampler_rng": json.dumps(sampler.rng.bit_generator.state),
                "curves": curves.rows,
            },
            part,
        )  # fmt: skip
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write the checkpoint {path}: {error}") from error


def _restore(
    path: Path,
    config: TrainConfig,
    network: MixSynthFormer,
    average: MixSynthFormer,
    optimisers: list[torch.optim.Optimizer],
    sampler: WindowSampler,
    curves: Curves,
) -> tuple[int, float]:
    """Everything as it was after the checkpoint's step; returns that step and the best score until then."""
    if not path.exists():
        raise SourceError(f"there is no checkpoint {path} to resume from; start without --resume")
    try:
        saved = torch.load(path, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise SourceError(f"{path} is damaged or no checkpoint of ours; start without --resume") from error
    if saved["settings"] != _settings(config):
        raise SourceError(f"{path} was made with other settings ({saved['settings']}); resume with the same ones")
    network.load_state_dict(saved["network"])
    average.load_state_dict(saved["average"])
    for optimiser, state in zip(optimisers, saved["optimisers"], strict=True):
        optimiser.load_state_dict(state)
    torch.set_rng_state(saved["torch_rng"])
    sampler.rng.bit_generator.state = json.loads(saved["sampler_rng"])
    curves.rows = saved["curves"]
    return saved["step"], saved["best"]


def _settings(config: TrainConfig) -> str:
    """What must not change between a run and its continuation."""
    names = ("space", "every", "steps", "batch", "lr", "warmup", "weight_decay", "ema", "seed", "newest_gap_weight",
             "second_gap_weight", "older_weight", "ahead_weight", "velocity_weight")  # fmt: skip
    files = {"data": data_hash(config.data), "validation": data_hash(config.validation)}
    return json.dumps({name: getattr(config, name) for name in names} | files)

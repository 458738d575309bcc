"""PresetRecipe: published recipes, on the public data in their own layouts.

Recipe (Sun et al., ICCV 2023, and the authors' configuration): Adam with amsgrad, the learning rate times 0.97 an
epoch, 100 epochs, L1 loss, dropout 0.1, Xavier-uniform weights. Each frame names a window; an epoch takes each once.
The published loaders fill a sequence that is shorter than a window up with zeros. Ours repeat its last pose, and the
loss leaves the repeated poses out. prediction.py has the recipe for short-term prediction.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mixsynth_stream.backend import Forward
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data import h36m
from mixsynth_stream.data.deciwatch import LAYOUTS, load_pairs
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.preset_score import FolderScore, PredictionScore, open_score
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.presets import PREDICTIONS, named_preset, published_config
from mixsynth_stream.train.config import PresetConfig
from mixsynth_stream.train.devices import Process
from mixsynth_stream.weights import WeightsInfo, save_weights

# (input, truth) of each sequence, [T, J, axes] both.
Sequences = list[tuple[np.ndarray, np.ndarray]]

_DECAY_AN_EPOCH = 0.97
PRESET_DROPOUT = 0.1


def published_network(shape: ModelConfig, dropout: float) -> MixSynthFormer:
    """The network as its authors start it: every matrix Xavier-uniform, also what starts as interpolation in ours."""
    network = MixSynthFormer(shape, dropout)
    for parameter in network.parameters():
        if parameter.dim() > 1 and parameter.numel():
            nn.init.xavier_uniform_(parameter)
    return network


class PresetRecipe:
    """A `Recipe` as it was published."""

    gradient_limit = math.inf
    draws_long = False

    curves_pattern = "/"

    def __init__(self, config: PresetConfig, shape: ModelConfig | None = None) -> None:
        """`shape`: another one than the preset's."""
        self.config, self.name, self.seed = config, config.preset, config.seed
        self.shape = shape or published_config(config.preset)
        self._kind, sequences, self._score = self.load()
        self.curves_label = {"2d": "share of joints", "smpl": "degrees"}.get(self._kind, "millimetres")
        self._windows = _Windows(sequences, self.shape, ahead_only=self._kind == "prediction")
        self._epoch_steps = math.ceil(self._windows.frames / config.batch)
        self.steps, self.validate_every = config.epochs * self._epoch_steps, config.validate_every * self._epoch_steps

    def load(self) -> tuple[str, Sequences, PredictionScore | FolderScore]:
        """The kind of data, the training sequences, and the score on those that are kept apart."""
        config = self.config
        if config.preset in PREDICTIONS:
            kind = "prediction"
            sequences = [(one.poses, one.poses) for one in h36m.load_split(config.data, "train")]
        else:
            kind = LAYOUTS[config.preset].kind
            sequences = [(pair.estimates, pair.truth) for pair in load_pairs(config.data, config.preset, "train")]
        return kind, sequences, open_score(config.preset, config.data, self.shape)

    def start(self, process: Process) -> None:
        process.share(self.config.batch)
        self._process, self._order = process, (-1, np.arange(0))

    def settings(self) -> str:
        names = ("preset", "epochs", "batch", "lr", "seed")
        options = {"kernels": True} if self.config.kernels else {}
        settings = {name: getattr(self.config, name) for name in names} | options
        return json.dumps(settings | {"data": self._windows.fingerprint})

    def network(self) -> nn.Module:
        return published_network(self.shape, dropout=PRESET_DROPOUT)

    def optimisers(self, network: nn.Module) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(network.parameters(), lr=self.config.lr, amsgrad=True)]

    def learning_rate(self, step: int) -> float:
        return float(self.config.lr * _DECAY_AN_EPOCH ** (step // self._epoch_steps))

    def ema_decay(self, step: int) -> float:
        return 0.0

    def draw(self, step: int) -> tuple[Tensor, ...]:
        """The epoch's order follows from seed and epoch alone, so that any step can be drawn again."""
        epoch, number = divmod(step, self._epoch_steps)
        if self._order[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(self._windows.frames)
            # The last batch is filled up with the first frames of the epoch.
            self._order = epoch, np.resize(order, self._epoch_steps * self.config.batch)
        first = number * self.config.batch
        numbers = self._order[1][first : first + self.config.batch]
        return self._windows.at(numbers[self._process.rank :: self._process.world_size])

    def loss(self, output: Tensor, *targets: Tensor) -> Tensor:
        truth, valid = targets
        return ((output - truth).abs().mean(dim=-1) * valid).sum() / valid.sum()

    def measure(self, forward: Forward) -> dict[str, float]:
        errors = self._score.measure(forward)
        tqdm.write("  ".join(f"{name} {value:.4g}" for name, value in errors.items()), file=sys.stderr)
        return errors

    def score(self, errors: dict[str, float]) -> float:
        return self._score.score(errors)

    def random_state(self) -> str:
        return ""

    def set_random_state(self, state: str) -> None:
        """Do nothing: the step alone decides what `draw` gives."""

    def finish(self, weights: Path) -> None:
        """Do nothing: an uncertainty table is for streaming, on our own joints."""

    def save(self, weights: Path, state: dict[str, np.ndarray], step: int, errors: dict[str, float]) -> None:
        save_weights(weights, state, self.shape, self.info(step, errors))

    def info(self, step: int, errors: dict[str, float]) -> WeightsInfo:
        preset = named_preset(self.config.preset)
        return WeightsInfo(
            skeleton=preset.skeleton.name,
            skeleton_joints=preset.skeleton.joints,
            space=preset.space,
            rate_hz=preset.rate_hz,
            normalisation=preset.normalisation,
            data=self.config.data_name or preset.data,
            licence=self.config.licence,
            data_hash=self._windows.fingerprint,
            metrics={"step": step, **{name: round(value, 5) for name, value in errors.items()}},
        )


class _Windows:
    """All sequences end to end. The number of a frame names its window, as in the published loaders."""

    def __init__(self, sequences: Sequences, shape: ModelConfig, ahead_only: bool) -> None:
        self._input, self._truth = (
            np.concatenate([pair[which].reshape(len(pair[which]), -1) for pair in sequences]).astype(np.float32)
            for which in (0, 1)
        )
        self._length = np.array([len(poses) for poses, _ in sequences])
        self._start = np.cumsum(self._length) - self._length
        self._shape = shape
        self._counted = np.arange(shape.seq_len) > (shape.newest if ahead_only else -1)
        # Nothing can be learnt from a sequence that is too short for one frame that counts.
        useful = self._length > np.argmax(self._counted)
        if not useful.any():
            raise SourceError(f"no sequence is long enough: {int(np.argmax(self._counted)) + 1} frames are the least")
        self._names = np.flatnonzero(np.repeat(useful, self._length))
        self.frames = len(self._names)

    def at(self, numbers: np.ndarray) -> tuple[Tensor, ...]:
        """Keyframes [B, Q+1, D], the truth [B, T, D], and which steps count [B, T]."""
        frame = self._names[numbers]
        sequence = np.searchsorted(self._start, frame, side="right") - 1
        length = self._length[sequence]
        first = (frame - self._start[sequence]) % np.maximum(length - self._shape.seq_len + 1, 1)
        steps = first[:, None] + np.arange(self._shape.seq_len)
        index = self._start[sequence][:, None] + np.minimum(steps, length[:, None] - 1)
        keyframes = self._input[index[:, : self._shape.newest + 1 : self._shape.sample_interval]]
        counted = (steps < length[:, None]) & self._counted
        return torch.from_numpy(keyframes), torch.from_numpy(self._truth[index]), torch.from_numpy(counted).float()

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the poses in the form that training takes."""
        digest = hashlib.sha256(self._length.tobytes())
        digest.update(self._input.tobytes())
        digest.update(self._truth.tobytes())
        return digest.hexdigest()

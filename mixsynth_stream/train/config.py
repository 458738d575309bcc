"""TrainConfig and PresetConfig: all settings of a training, by either recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.presets import DEFAULT_EVERY, PREDICTIONS, PRESET_NAMES, shipped_config, shipped_name
from mixsynth_stream.spaces import LANDMARK_SPACES

# Values that differ from 256 and 1e-3: the published ones, and for predictions that of Muon.
_PRESET_BATCH = {"aist": 512, "aist-smpl": 512}
_PRESET_LR = {"3dpw-pare": 5e-3, **dict.fromkeys(PREDICTIONS, 8e-3)}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the result, apart from the data themselves and the version of torch."""

    data: tuple[Path, ...]
    out: Path
    space: str = "image"
    every: int = DEFAULT_EVERY
    # Clips for validation only; without them every tenth subject of `data` is kept back for it.
    validation: tuple[Path, ...] = ()
    steps: int = 12000
    batch: int = 64
    # The learning rate of Muon, for the matrices of the layers; AdamW takes half of it for the rest.
    lr: float = 8e-3
    warmup: int = 200
    weight_decay: float = 0.01
    ema: float = 0.998
    seed: int = 0
    # Weights to start from instead of the untrained network, to adapt shipped ones or for a second round.
    start: Path | None = None
    resume: bool = False
    validate_every: int = 1000
    # Training ends after so many validations without a better score; 0: never.
    patience: int = 0
    # Factors on how often windows are drawn from the clips of a source (`src` in their files).
    source_weights: tuple[tuple[str, float], ...] = ()
    # Name and licence of the data, for the weight file; without them the names of the files and what the clips state.
    data_name: str = ""
    licence: str = ""
    # Shares of the loss: between the two newest keyframes, between the two before them, earlier, and ahead.
    newest_gap_weight: float = 6.0
    second_gap_weight: float = 4.0
    older_weight: float = 0.5
    ahead_weight: float = 1.0
    velocity_weight: float = 1.0
    # The chance that in a window the simulated estimator follows somebody else for a while.
    wrong_person: float = 0.0
    # The network's layers run on the Triton kernels.
    kernels: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("no data given; name at least one .npz of clips")
        if self.space not in LANDMARK_SPACES:
            raise ValueError(f"space must be image or world, found {self.space!r}")
        for name in ("every", "steps", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.patience < 0:
            raise ValueError(f"patience must be 0 (off) or more, found {self.patience}")
        if not 0 < self.lr < math.inf or not 0 <= self.ema < 1:
            raise ValueError(f"lr must be positive and ema in 0..1, found lr {self.lr} and ema {self.ema}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, found {self.seed}")
        shares = (self.newest_gap_weight, self.second_gap_weight, self.older_weight, self.ahead_weight)
        if not all(0 <= share < math.inf for share in (*shares, self.velocity_weight)) or not any(shares):
            raise ValueError(
                f"shares of the loss must be 0 or more and not all 0, found {', '.join(f'{s:g}' for s in shares)} "
                f"(newest gap, second, older, ahead) and {self.velocity_weight:g} (velocity)"
            )
        wrong = [weight for weight in self.source_weights if not 0 <= weight[1] < math.inf]
        if wrong:
            raise ValueError(f"the weight of a source must be 0 or more, found {wrong[0][1]:g} for {wrong[0][0]}")
        if not 0 <= self.wrong_person <= 1:
            raise ValueError(f"wrong_person must be a chance in 0..1, found {self.wrong_person}")

    @property
    def model(self) -> ModelConfig:
        """Dimensions of the network: those of the weights that ship."""
        return shipped_config(self.space, self.every)

    @property
    def name(self) -> str:
        """`image-n10`: the stem of every file that training writes."""
        return shipped_name(self.space, self.every)


def source_weight(text: str) -> tuple[str, float]:
    """`uiprmd=0.5` as a source and the factor on its clips. `ValueError` for anything else."""
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise ValueError(f"the weight of a source is NAME=FACTOR, as in uiprmd=0.5; found {text!r}") from error


@dataclass(frozen=True, kw_only=True)
class PresetConfig:
    """A published recipe on public data in their own layout: `data` is the folder that they were unpacked into."""

    preset: str
    data: Path
    out: Path
    epochs: int = 100
    # 0 stands for the value of the preset.
    batch: int = 0
    lr: float = 0.0
    seed: int = 0
    resume: bool = False
    # Epochs between validations. Training ends after `patience` validations without a better score; 0: never.
    validate_every: int = 1
    patience: int = 0
    kernels: bool = False
    data_name: str = ""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.preset not in PRESET_NAMES:
            raise ValueError(f"preset must be one of {', '.join(PRESET_NAMES)}, found {self.preset!r}")
        object.__setattr__(self, "batch", self.batch or _PRESET_BATCH.get(self.preset, 256))
        object.__setattr__(self, "lr", self.lr or _PRESET_LR.get(self.preset, 1e-3))
        for name in ("epochs", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 < self.lr < math.inf or self.patience < 0 or self.seed < 0:
            raise ValueError(
                f"lr must be positive, patience and seed not negative, found {self.lr}, {self.patience} and {self.seed}"
            )

"""Training: its settings, its command line, and `train`. torch is imported only when training starts.

`python -m mixsynth_stream train --space image --data A.npz B.npz --out DIR` trains on motion capture,
`python -m mixsynth_stream train --preset NAME --data FOLDER --out DIR` follows a published recipe.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.convert_presets import PRESETS
from mixsynth_stream.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the result, apart from the data themselves and the version of torch."""

    data: tuple[Path, ...]
    out: Path
    space: str = "image"
    every: int = 10
    # Clips that are only looked at; without them every tenth subject of `data` is kept back.
    validation: tuple[Path, ...] = ()
    steps: int = 12000
    batch: int = 64
    # Of Muon, for the matrices of the layers; AdamW has half of it for the rest.
    lr: float = 8e-3
    warmup: int = 200
    weight_decay: float = 0.01
    ema: float = 0.998
    seed: int = 0
    # Weights to start from instead of the untrained network: to adapt shipped ones, or for a second round.
    start: Path | None = None
    resume: bool = False
    validate_every: int = 1000
    # End after so many validations without a better one; 0: never.
    patience: int = 0
    # What a user may say about data of their own; both are written into the weight file.
    data_name: str = ""
    licence: str = "not stated"
    # Shares of the loss: between the two newest keyframes, between the two before them, earlier, and ahead.
    newest_gap_weight: float = 6.0
    second_gap_weight: float = 4.0
    older_weight: float = 0.5
    ahead_weight: float = 1.0
    velocity_weight: float = 1.0
    # Chance a window that the simulated estimator is with somebody else for a while.
    wrong_person: float = 0.0
    # The network's layers on the Triton kernels.
    kernels: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("no data given; name at least one .npz of clips")
        if self.space not in ("image", "world"):
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
        if not 0 <= self.wrong_person <= 1:
            raise ValueError(f"wrong_person must be a chance in 0..1, found {self.wrong_person}")

    @property
    def model(self) -> ModelConfig:
        """Dimensions of the network: those of the weights that ship."""
        from mixsynth_stream.weights import shipped_config

        return shipped_config(self.space, self.every)

    @property
    def name(self) -> str:
        """`image-n10`: the stem of every file that training writes."""
        return f"{self.space}-n{self.every}"


# Published values that differ from 256 and 1e-3.
_PUBLISHED_BATCH = {"aist": 512, "aist-smpl": 512}
_PUBLISHED_LR = {"3dpw-pare": 5e-3}
PRESET_NAMES = (*PRESETS, "h36m-prediction")


@dataclass(frozen=True, kw_only=True)
class PresetConfig:
    """A published recipe on public data in their own layout: `data` is the folder that they were unpacked into."""

    preset: str
    data: Path
    out: Path
    epochs: int = 100
    # 0: the published ones.
    batch: int = 0
    lr: float = 0.0
    seed: int = 0
    resume: bool = False
    # Epochs between validations, and validations without a better one before the end (0: never).
    validate_every: int = 1
    patience: int = 0
    kernels: bool = False
    data_name: str = ""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.preset not in PRESET_NAMES:
            raise ValueError(f"preset must be one of {', '.join(PRESET_NAMES)}, found {self.preset!r}")
        object.__setattr__(self, "batch", self.batch or _PUBLISHED_BATCH.get(self.preset, 256))
        object.__setattr__(self, "lr", self.lr or _PUBLISHED_LR.get(self.preset, 1e-3))
        for name in ("epochs", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 < self.lr < math.inf or self.patience < 0 or self.seed < 0:
            raise ValueError(
                f"lr must be positive, patience and seed not negative, found {self.lr}, {self.patience} and {self.seed}"
            )


def train(config: TrainConfig | PresetConfig) -> Path:
    """Train, and return the path of the weight file. A checkpoint, the curves as CSV and PNG lie beside it.

    Raises `SourceError` for data that cannot be read and `OutputError` for a folder that cannot be written.
    """
    try:
        from mixsynth_stream import train_loop, train_presets
    except ModuleNotFoundError as error:
        raise ModelError(f"training needs {error.name}: pip install 'mixsynth-stream[train]'") from error
    return train_presets.run(config) if isinstance(config, PresetConfig) else train_loop.run(config)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `train` command. None stands for the default of the recipe."""
    defaults = TrainConfig(data=(Path("-"),), out=Path("-"))
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="PATH",
                        help="motion capture clips (.npz); with --preset the folder of the data set")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for weights and curves")
    parser.add_argument("--preset", choices=PRESET_NAMES, help="a published recipe, on its data set (docs/data.md)")
    parser.add_argument("--batch", type=int, help=f"windows a step (default: {defaults.batch}, or as published)")
    parser.add_argument("--lr", type=float, help=f"learning rate (default: {defaults.lr:g}, or as published)")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--validate-every", type=int, metavar="N",
                        help=f"steps between validations (default: {defaults.validate_every}); epochs with --preset "
                        "(default: 1)")  # fmt: skip
    parser.add_argument("--patience", type=int, default=defaults.patience, metavar="N",
                        help="stop after N validations without a better one (default: never)")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--kernels", action="store_true",
                        help="the network's layers on the Triton kernels (a CUDA device)")  # fmt: skip
    parser.add_argument("--data-name", default="", help="what the data are, for the weight file")
    parser.add_argument("--licence", default=defaults.licence, help="licence of the data, for the weight file")
    published = parser.add_argument_group("with --preset")
    published.add_argument("--epochs", type=int, help="default: 100")
    ours = parser.add_argument_group("without --preset")
    ours.add_argument("--space", choices=("image", "world"), help=f"default: {defaults.space}")
    ours.add_argument(
        "--every", type=int, metavar="N", help=f"1/30 s steps between keyframes (default: {defaults.every})"
    )
    ours.add_argument("--steps", type=int, help=f"default: {defaults.steps}")
    ours.add_argument("--validation", nargs="+", type=Path, metavar="NPZ",
                      help="clips to validate on (default: every tenth subject of the data)")  # fmt: skip
    ours.add_argument(
        "--start",
        type=Path,
        metavar="NAME",
        help="weights to start from, shipped ones by name or a file (default: untrained)",
    )
    ours.add_argument("--gap-weights", nargs=2, type=float, metavar=("NEWEST", "SECOND"),
                      help="shares of the loss for the two newest gaps, where ahead is 1 (default: "
                      f"{defaults.newest_gap_weight:g} {defaults.second_gap_weight:g})")  # fmt: skip
    ours.add_argument("--wrong-person", type=float, metavar="CHANCE",
                      help="chance a window that the estimator is with somebody else for a while, for estimators whose "
                      "people are not told apart (default: 0)")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """The `train` command, from parsed options to an exit code."""
    print(train(config_from(args)))
    return 0


def config_from(args: argparse.Namespace) -> TrainConfig | PresetConfig:
    """Raises `ValueError` for options that do not go together."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    gap_weights = given.pop("gap_weights", None)
    if args.preset is not None:
        foreign = [
            n for n in TrainConfig.__dataclass_fields__ if n in given and n not in PresetConfig.__dataclass_fields__
        ]
        if foreign or gap_weights or len(given["data"]) != 1:
            named = ", ".join("--" + name.replace("_", "-") for name in foreign)
            wrong = named or ("--gap-weights" if gap_weights else "several --data")
            raise ValueError(f"{wrong} does not go with --preset; a preset takes one folder and the published settings")
        nothing = [name for name in ("batch", "lr") if given.get(name) == 0]
        if nothing:
            raise ValueError(f"--{nothing[0]} must be positive, found 0; leave it out for the published one")
        given["data"] = given["data"][0]
        return PresetConfig(**{name: given[name] for name in PresetConfig.__dataclass_fields__ if name in given})
    if "epochs" in given:
        raise ValueError("--epochs goes with --preset only; give --steps")
    given["data"], given["validation"] = tuple(given["data"]), tuple(given.get("validation", ()))
    if gap_weights:
        given["newest_gap_weight"], given["second_gap_weight"] = gap_weights
    return TrainConfig(**{name: given[name] for name in TrainConfig.__dataclass_fields__ if name in given})

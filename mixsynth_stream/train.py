"""Training: its settings, its command line, and `train`. torch is imported only when training starts.

`python -m mixsynth_stream train --space image --data A.npz B.npz --out DIR` is the command.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from mixsynth_stream.config import ModelConfig
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
        if not self.lr > 0 or not 0 <= self.ema < 1:
            raise ValueError(f"lr must be positive and ema in 0..1, found lr {self.lr} and ema {self.ema}")

    @property
    def model(self) -> ModelConfig:
        """Dimensions of the network: those of the weights that ship."""
        from mixsynth_stream.weights import shipped_config

        return shipped_config(self.space, self.every)

    @property
    def name(self) -> str:
        """`image-n10`: the stem of every file that training writes."""
        return f"{self.space}-n{self.every}"


def train(config: TrainConfig) -> Path:
    """Train, and return the path of the weight file. A checkpoint, the curves as CSV and PNG lie beside it.

    Raises `SourceError` for data that cannot be read and `OutputError` for a folder that cannot be written.
    """
    try:
        from mixsynth_stream.train_loop import run
    except ImportError as error:
        raise ModelError(f"training needs {error.name}: pip install 'mixsynth-stream[train]'") from error
    return run(config)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `train` command."""
    defaults = TrainConfig(data=(Path("-"),), out=Path("-"))
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="NPZ", help="motion capture clips")
    parser.add_argument("--validation", nargs="+", type=Path, default=[], metavar="NPZ",
                        help="clips to validate on (default: every tenth subject of the data)")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for weights and curves")
    parser.add_argument("--space", choices=("image", "world"), default=defaults.space)
    parser.add_argument("--every", type=int, default=defaults.every, metavar="N", help="1/30 s steps between keyframes")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--validate-every", type=int, default=defaults.validate_every, metavar="STEPS")
    parser.add_argument("--start", type=Path, metavar="FILE", help="weights to start from (default: untrained)")
    parser.add_argument("--gap-weights", nargs=2, type=float, metavar=("NEWEST", "SECOND"),
                        help="shares of the loss for the two newest gaps, where ahead is 1 (default: "
                        f"{defaults.newest_gap_weight:g} {defaults.second_gap_weight:g})")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--data-name", default="", help="what the data are, for the weight file")
    parser.add_argument("--licence", default=defaults.licence, help="licence of the data, for the weight file")


def main(args: argparse.Namespace) -> int:
    """The `train` command, from parsed options to an exit code."""
    options = dict(vars(args))
    known = {name: options[name] for name in TrainConfig.__dataclass_fields__ if name in options}
    known["data"], known["validation"] = tuple(known["data"]), tuple(known["validation"])
    if options.get("gap_weights"):
        known["newest_gap_weight"], known["second_gap_weight"] = options["gap_weights"]
    print(train(TrainConfig(**known)))
    return 0

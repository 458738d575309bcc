"""Training: its settings, its command line, and `train`. torch is imported only when training starts.

`python -m mixsynth_stream train --space image --data A.npz B.npz --out DIR` trains on motion capture,
`python -m mixsynth_stream train --preset NAME --data FOLDER --out DIR` follows a published recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mixsynth_stream.presets import PRESET_NAMES
from mixsynth_stream.train.config import PresetConfig, TrainConfig
from mixsynth_stream.train.start import train


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

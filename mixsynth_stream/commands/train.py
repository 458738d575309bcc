"""`train`: trains the network. torch is imported only when training starts.

`python -m mixsynth_stream train --space image --data A.npz B.npz --out DIR` trains on motion capture,
`python -m mixsynth_stream train --preset NAME --data FOLDER --out DIR` follows a published recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mixsynth_stream.presets import PRESET_NAMES
from mixsynth_stream.spaces import LANDMARK_SPACES
from mixsynth_stream.train import PresetConfig, TrainConfig, train
from mixsynth_stream.train.config import source_weight


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `train` command. None stands for the default of the recipe."""
    defaults = TrainConfig(data=(Path("-"),), out=Path("-"))
    data = "motion capture clips (.npz); with --preset the folder of the data set"
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="PATH", help=data)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for weights and curves")
    parser.add_argument("--preset", choices=PRESET_NAMES, help="a published recipe, on its data set (docs/data.md)")
    parser.add_argument("--batch", type=int, help=f"windows a step (default: {defaults.batch}, or as published)")
    parser.add_argument("--lr", type=float, help=f"learning rate (default: {defaults.lr:g}, or as published)")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    every = f"steps between validations (default: {defaults.validate_every}); epochs with --preset (default: 1)"
    parser.add_argument("--validate-every", type=int, metavar="N", help=every)
    patience = "stop after N validations without a better one (default: never)"
    parser.add_argument("--patience", type=int, default=defaults.patience, metavar="N", help=patience)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    kernels = "the network's layers on the Triton kernels (a CUDA device)"
    parser.add_argument("--kernels", action="store_true", help=kernels)
    parser.add_argument("--data-name", default="", help="what the data are, for the weight file")
    licence = "licence of the data, for the weight file (default: what the clips state)"
    parser.add_argument("--licence", help=licence)
    published = parser.add_argument_group("with --preset")
    published.add_argument("--epochs", type=int, help="default: 100")
    _add_own_recipe(parser.add_argument_group("without --preset"), defaults)


def _add_own_recipe(group: argparse._ArgumentGroup, defaults: TrainConfig) -> None:
    group.add_argument("--space", choices=LANDMARK_SPACES, help=f"default: {defaults.space}")
    every = f"1/30 s steps between keyframes (default: {defaults.every})"
    group.add_argument("--every", type=int, metavar="N", help=every)
    group.add_argument("--steps", type=int, help=f"default: {defaults.steps}")
    validation = "clips to validate on (default: every tenth subject of the data)"
    group.add_argument("--validation", nargs="+", type=Path, metavar="NPZ", help=validation)
    start = "weights to start from, shipped ones by name or a file (default: untrained)"
    group.add_argument("--start", type=Path, metavar="NAME", help=start)
    gap_weights = (
        "shares of the loss for the two newest gaps, where ahead is 1 "
        f"(default: {defaults.newest_gap_weight:g} {defaults.second_gap_weight:g})"
    )
    group.add_argument("--gap-weights", nargs=2, type=float, metavar=("NEWEST", "SECOND"), help=gap_weights)
    source_weights = (
        "factors on how often clips of a source are drawn, as in uiprmd=0.5 snu_basket=2 "
        "(default: 1; the table printed at the start has the sources)"
    )
    group.add_argument("--source-weights", nargs="+", metavar="NAME=FACTOR", help=source_weights)
    wrong_person = (
        "chance a window that the estimator is with somebody else for a while, "
        "for estimators whose people are not told apart (default: 0)"
    )
    group.add_argument("--wrong-person", type=float, metavar="CHANCE", help=wrong_person)


def main(args: argparse.Namespace) -> int:
    """The `train` command, from parsed options to an exit code."""
    print(train(config_from(args)))
    return 0


def config_from(args: argparse.Namespace) -> TrainConfig | PresetConfig:
    """The settings that the options name. Raises `ValueError` for options that do not go together."""
    options = {name: value for name, value in vars(args).items() if value is not None}
    gap_weights = options.pop("gap_weights", None)
    ours, published = TrainConfig.__dataclass_fields__, PresetConfig.__dataclass_fields__
    if args.preset is not None:
        foreign = ["--" + name.replace("_", "-") for name in ours if name in options and name not in published]
        if foreign or gap_weights or len(options["data"]) != 1:
            wrong = ", ".join(foreign) or ("--gap-weights" if gap_weights else "several --data")
            raise ValueError(f"{wrong} does not go with --preset; a preset takes one folder and the published settings")
        zeros = [name for name in ("batch", "lr") if options.get(name) == 0]
        if zeros:
            raise ValueError(f"--{zeros[0]} must be positive, found 0; leave it out for the published one")
        options["data"] = options["data"][0]
        return PresetConfig(**{name: options[name] for name in published if name in options})
    if "epochs" in options:
        raise ValueError("--epochs goes with --preset only; give --steps")
    options["data"], options["validation"] = tuple(options["data"]), tuple(options.get("validation", ()))
    options["source_weights"] = tuple(source_weight(text) for text in options.get("source_weights", ()))
    if gap_weights:
        options["newest_gap_weight"], options["second_gap_weight"] = gap_weights
    return TrainConfig(**{name: options[name] for name in ours if name in options})

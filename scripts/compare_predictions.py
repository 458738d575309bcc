#!/usr/bin/env python3
"""Train the networks of the prediction presets and siMLPe on clips of motion capture, and compare what they reach.

    python scripts/compare_predictions.py --data TRAIN.npz ... --validation VALIDATION.npz ... --epochs E --out DIR

The task is that of the presets: 25 Hz, 10 frames seen (50 in the networks called so), 10 predicted, joints seen from
the root. All are trained by the recipe of the presets; siMLPe has Adam, as in its paper.

{networks}

Numbers are the error over that of the last pose, and below over that of siMLPe. With --resume a finished network is not
trained again: train with --only in several processes, then print one table. Human3.6M moves otherwise: ratios here say
which network is ahead, and not what it reaches there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_architectures import best_row
from prediction_clips import load_sequences
from simlpe import SiMlpe
from torch import nn

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.mocap import unique_names
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.evaluate.preset_score import HORIZONS_MS, PredictionScore
from mixsynth_stream.presets import published_config
from mixsynth_stream.reports import table, write_json
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.train.checkpoint import save_checkpoint
from mixsynth_stream.train.config import PresetConfig
from mixsynth_stream.train.loop import fit
from mixsynth_stream.train.prediction import PredictionRecipe
from mixsynth_stream.train.published import Sequences

SIMLPE = "siMLPe"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A network to compare: its words for --help, the preset whose task it has, and how it differs from that preset."""

    words: str
    preset: str
    make: Callable[[ModelConfig], nn.Module] | None = None
    # The best rate of a short search (docs/prediction.md); None: that of the preset.
    adam_lr: float | None = None


CONTENDERS = {
    "ours": Contender(words="the network of h36m-prediction", preset="h36m-prediction"),
    SIMLPE: Contender(words="siMLPe (Guo et al.)", preset="h36m-prediction", make=SiMlpe, adam_lr=3e-3),
    "ours-50": Contender(words="the network of h36m-prediction-50", preset="h36m-prediction-50"),
    f"{SIMLPE}-50": Contender(
        words="siMLPe, 50 frames seen as in its paper", preset="h36m-prediction-50", make=SiMlpe, adam_lr=3e-3
    ),
}
USUAL = ("ours", SIMLPE)


class ClipRecipe(PredictionRecipe):
    """The recipe of a prediction preset, on clips."""

    curves_pattern = "/(network|last_pose)_at"

    def __init__(self, config: PresetConfig, name: str, data: list[Path], validation: list[Path]) -> None:
        self._paths, self._validation, self._contender = data, validation, CONTENDERS[name]
        super().__init__(config, replace(published_config(config.preset), joint_dim=3 * len(CORE_17)))
        self.name = name

    def load(self) -> tuple[str, Sequences, PredictionScore]:
        names = unique_names(self._validation, [path.stem for path in self._validation])
        sets = {name: load_sequences([path]) for name, path in zip(names, self._validation, strict=True)}
        training = [(sequence.poses, sequence.poses) for sequence in load_sequences(self._paths)]
        return "prediction", training, PredictionScore(sets, self.shape, all_joints=np.asarray)

    def network(self) -> nn.Module:
        return self._contender.make(self.shape) if self._contender.make else super().network()

    def optimisers(self, network: nn.Module) -> list[torch.optim.Optimizer]:
        if self._contender.adam_lr is None:
            return super().optimisers(network)
        return [torch.optim.Adam(network.parameters(), lr=self.config.lr)]

    def settings(self) -> str:
        return f"{self.name}: {super().settings()}"

    def score(self, errors: dict[str, float]) -> float:
        """The mean ratio to the last pose over files and horizons: lower is better."""
        keys = [f"{data}/{{}}_at_{ms}" for data in data_names(errors) for ms in HORIZONS_MS]
        return float(np.mean([errors[key.format("network")] / errors[key.format("last_pose")] for key in keys]))

    def save(self, weights: Path, state: dict[str, np.ndarray], step: int, errors: dict[str, float]) -> None:
        """A checkpoint: no weight file has these joints at this rate."""
        tensors = {name: torch.from_numpy(value) for name, value in state.items()}
        save_checkpoint(weights.with_suffix(".pt"), {"settings": self.settings(), "step": step, "state": tensors})


def data_names(errors: dict[str, float]) -> list[str]:
    """The validation files in these errors, `FILE/METHOD_CONVENTION_MS`."""
    return list(dict.fromkeys(name.split("/")[0] for name in errors if "/" in name))


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train the networks that are not finished yet; a row for each of them and each validation file."""
    rows = []
    for name in args.only or USUAL:
        contender = CONTENDERS[name]
        config = PresetConfig(
            preset=contender.preset,
            data=args.data[0],
            out=args.out,
            epochs=args.epochs,
            batch=args.batch or 0,
            lr=args.lr or contender.adam_lr or 0.0,
            seed=args.seed,
        )
        recipe = ClipRecipe(config, name, args.data, args.validation)
        fit(recipe, args.out, resume=args.resume and (args.out / f"{name}.checkpoint.pt").exists())
        errors = best_row(args.out / f"{name}.csv")
        parameters = sum(parameter.numel() for parameter in recipe.network().parameters())
        for data in data_names(errors):
            errors_mm = {key.split("/")[1]: errors[key] for key in errors if key.startswith(f"{data}/")}
            settings = {"steps": recipe.steps, "best_step": int(errors["step"]), "lr": config.lr, "batch": config.batch}
            row = {"network": name, "data": data, "parameters": parameters, **settings, "errors_mm": errors_mm}
            rows.append(row)
    return rows


def lines(rows: list[dict[str, Any]]) -> list[list[str]]:
    """A line for each network and file: errors over the last pose's, and over those of siMLPe where it was trained."""
    columns = [f"{word}_{ms}" for word in ("at", "to") for ms in HORIZONS_MS]
    out = [["", "data", *(f"{column.replace('_', ' ')} ms" for column in columns), "parameters"]]
    peers = {row["data"]: row["errors_mm"] for row in rows if row["network"] == SIMLPE}
    for row in rows:
        errors = row["errors_mm"]
        ratios = [errors[f"network_{column}"] / errors[f"last_pose_{column}"] for column in columns]
        parameters = f"{row['parameters']:,}"
        out.append([row["network"], row["data"], *(f"{ratio:.3f}" for ratio in ratios), parameters])
        if row["data"] in peers and row["network"] != SIMLPE:
            peer = peers[row["data"]]
            ratios = [errors[f"network_{column}"] / peer[f"network_{column}"] for column in columns]
            out.append([f"{row['network']} over {SIMLPE}", row["data"], *(f"{ratio:.3f}" for ratio in ratios), ""])
    return out


def main() -> None:
    networks = "\n".join(f"{name:12}{contender.words}" for name, contender in CONTENDERS.items())
    description = (__doc__ or "").format(networks=networks)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="NPZ", help="clips to train on")
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="NPZ", help="clips to measure on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for checkpoints and curves")
    only = f"which ones (default: {' '.join(USUAL)})"
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME", help=only)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, with machine and versions")
    parser.add_argument("--epochs", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--batch", type=int, help="windows a step (default: the preset's)")
    parser.add_argument("--lr", type=float, help="learning rate of all (default: the best of a short search for each)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # Two threads of torch spin while they wait, which beside other work costs nearly all of their speed.
    torch.set_num_threads(1)
    try:
        rows = compare(args)
        print(table(lines(rows)))
        if args.json:
            write_json(args.json, rows, packages=("torch",))
    except (ModelError, OutputError, SourceError, ValueError) as error:
        sys.exit(f"compare_predictions: {error}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Train other architectures as the shipped weights are trained, and compare what they reach.

    python scripts/compare_architectures.py --data TRAIN.npz ... --validation VALIDATION.npz ... --steps S --out DIR

All have the same windows in the same order, the same loss, schedule and number of steps, and the validation of `train`.
For a network that ends at the newest keyframe the loss leaves the steps past it out, and it has no answer ahead.

{architectures}

The numbers are the error over that of the best simple method for the same question: below 1 the network wins. With
--resume a finished network is not trained again: train with --only in several processes, then print one table.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from deciwatch_transformer import DeciWatchTransformer
from torch import Tensor, nn

from mixsynth_stream.backend import Forward
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.reports import table, write_json
from mixsynth_stream.spaces import LANDMARK_SPACES
from mixsynth_stream.train.checkpoint import save_checkpoint
from mixsynth_stream.train.config import TrainConfig
from mixsynth_stream.train.loop import fit
from mixsynth_stream.train.mocap import MocapRecipe, motion_loss
from mixsynth_stream.train.published import published_network
from mixsynth_stream.train.validation import HORIZONS_MS
from mixsynth_stream.weights import save_weights

COLUMNS = {"gap": "gap", "earlier_gap": "gap before", **{f"ahead_{ms}": f"{ms} ms" for ms in HORIZONS_MS}}
ROUNDS, CALLS = 15, 20


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network to compare: its words for --help, and how it is built and trained."""

    words: str
    make: Callable[[ModelConfig], nn.Module]
    # The best rate of a short search (docs/experiments.md).
    lr: float
    # Whether it goes on past the newest keyframe, as the shipped network does.
    has_horizon: bool = False

    def shape(self, shipped: ModelConfig) -> ModelConfig:
        return shipped if self.has_horizon else replace(shipped, horizon=0)


ARCHITECTURES = {
    "ours": Architecture(
        words="MixSynthFormer with our horizon and our start: the network that ships",
        make=partial(MixSynthFormer, dropout=0.0),
        has_horizon=True,
        lr=8e-3,
    ),
    "published": Architecture(
        words="MixSynthFormer as published, no horizon, a random start; as wide and deep as its Human3.6M weights",
        make=partial(published_network, dropout=0.0),
        lr=8e-3,
    ),
    "transformer": Architecture(
        words="a transformer in the manner of DeciWatch, no horizon; of the size published for 3DPW (width 32)",
        make=partial(DeciWatchTransformer, width=32),
        lr=8e-3,
    ),
    "transformer-128": Architecture(
        words="the same, of the size published for Sub-JHMDB and Human3.6M (width 128)",
        make=partial(DeciWatchTransformer, width=128),
        lr=8e-3,
    ),
    "transformer-ahead": Architecture(
        words="the transformer of width 32, continued past the newest keyframe by our horizon",
        make=partial(DeciWatchTransformer, width=32),
        has_horizon=True,
        lr=8e-3,
    ),
}
USUAL = ("ours", "published", "transformer")


class ArchitectureRecipe(MocapRecipe):
    """The recipe of the shipped weights, for another network."""

    def __init__(self, config: TrainConfig, name: str) -> None:
        super().__init__(config)
        self.name, self._architecture = name, ARCHITECTURES[name]
        # Windows and validation keep the shipped shape, so that they are the same for every network.
        self.own_shape = self._architecture.shape(self.shape)

    def settings(self) -> str:
        return f"{self.name}: {super().settings()}"

    def network(self) -> nn.Module:
        return self._architecture.make(self.own_shape)

    def loss(self, output: Tensor, *targets: Tensor) -> Tensor:
        truth, valid, joints = targets
        steps = slice(self.own_shape.seq_len)
        weights, velocity = self._weights[steps], self.config.velocity_weight
        return motion_loss(output, truth[:, steps], valid[:, steps], weights, velocity, joints)

    def measure(self, forward: Forward) -> dict[str, float]:
        missing = self.shape.seq_len - self.own_shape.seq_len

        def padded_forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
            return np.pad(forward(keyframes), ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)

        ratios = super().measure(padded_forward)
        return {name: ratio for name, ratio in ratios.items() if not (missing and "/ahead_" in name)}

    def save(self, weights: Path, state: dict[str, np.ndarray], step: int, errors: dict[str, float]) -> None:
        """A weight file where the package has the network, a checkpoint where it has not."""
        if "l_interp.weight" in state:
            save_weights(weights, state, self.own_shape, self.info(step, errors))
        else:
            tensors = {name: torch.from_numpy(value) for name, value in state.items()}
            save_checkpoint(weights.with_suffix(".pt"), {"settings": self.settings(), "step": step, "state": tensors})

    def finish(self, weights: Path) -> None:
        """Do nothing: an uncertainty table is for streaming."""


def config_for(name: str, args: argparse.Namespace) -> TrainConfig:
    """The settings of the shipped weights with the learning rate of this architecture; short runs warm up shorter."""
    usual = TrainConfig(data=tuple(args.data), out=args.out)
    return replace(
        usual,
        validation=tuple(args.validation),
        space=args.space,
        every=args.every,
        steps=args.steps,
        batch=args.batch,
        seed=args.seed,
        lr=args.lr or ARCHITECTURES[name].lr,
        warmup=min(usual.warmup, args.steps // 10),
        validate_every=min(args.validate_every, args.steps),
    )


def best_row(curves: Path) -> dict[str, float]:
    """The validation that chose the saved weights."""
    with curves.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return min(rows, key=lambda row: row["score"])


def milliseconds(networks: Mapping[str, nn.Module], keyframes: Tensor) -> dict[str, list[float]]:
    """Times of a call in eager torch, one a round: the mean of its calls. Networks take turns in every round."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for round_number in range(1 + ROUNDS):
            for name, network in networks.items():
                start = time.perf_counter()
                for _ in range(CALLS):
                    network(keyframes)
                # The first round warms up.
                if round_number:
                    times[name].append((time.perf_counter() - start) / CALLS * 1e3)
    return times


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train the networks that are not finished yet; a row for each architecture."""
    rows, networks = [], {}
    for name in args.only or USUAL:
        recipe = ArchitectureRecipe(config_for(name, args), name)
        fit(recipe, args.out, resume=args.resume and (args.out / f"{name}.checkpoint.pt").exists())
        best = best_row(args.out / f"{name}.csv")
        networks[name] = recipe.network().eval()
        row: dict[str, Any] = {
            "network": name,
            "space": args.space,
            "every": args.every,
            "horizon": recipe.own_shape.horizon,
            "parameters": sum(parameter.numel() for parameter in networks[name].parameters()),
            "steps": args.steps,
            "best_step": int(best["step"]),
            "lr": recipe.config.lr,
            "batch": args.batch,
            "seed": args.seed,
            "over_best_simple": {key: best[key] for key in best if "/" in key},
        }
        rows.append(row)
    shape = recipe.own_shape
    times = milliseconds(networks, torch.randn(1, shape.num_keyframes, shape.joint_dim))
    for row in rows:
        own, first = times[row["network"]], times[rows[0]["network"]]
        row["ms_a_call"] = median(own)
        row["over_first"] = median(ms / first_ms for ms, first_ms in zip(own, first, strict=True))
        row["torch"], row["threads"] = torch.__version__, torch.get_num_threads()
    return rows


def lines(rows: list[dict[str, Any]]) -> list[list[str]]:
    """A line for each network and validation file, under the heads of the columns."""
    out = [["network", "data", *COLUMNS.values(), "parameters", "ms a call"]]
    for row in rows:
        shares = row["over_best_simple"]
        for data in dict.fromkeys(key.split("/")[0] for key in shares):
            cells = [f"{shares[key]:.3f}" if (key := f"{data}/{question}") in shares else "-" for question in COLUMNS]
            out.append([row["network"], data, *cells, f"{row['parameters']:,}", f"{row['ms_a_call']:.2f}"])
    return out


def main() -> None:
    architectures = "\n".join(f"{name:18}{architecture.words}" for name, architecture in ARCHITECTURES.items())
    description = (__doc__ or "").format(architectures=architectures)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = TrainConfig(data=(Path("-"),), out=Path("-"))
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="NPZ", help="clips to train on")
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="NPZ", help="clips to measure on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for weights and curves")
    only = f"which ones (default: {' '.join(USUAL)})"
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, metavar="NAME", help=only)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, with machine and versions")
    parser.add_argument("--space", choices=LANDMARK_SPACES, default=usual.space, help="default: %(default)s")
    parser.add_argument("--every", type=int, default=usual.every, metavar="N", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=usual.steps, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=usual.batch, help="windows a step (default: %(default)s)")
    parser.add_argument("--lr", type=float, help="learning rate of all (default: the best that was found for each)")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--validate-every", type=int, default=usual.validate_every, metavar="STEPS")
    args = parser.parse_args()
    try:
        rows = compare(args)
        print(table(lines(rows)))
        print(f"one window a call, eager torch {rows[0]['torch']}, threads: {rows[0]['threads']}")
        if args.json:
            write_json(args.json, rows)
    except (ModelError, OutputError, SourceError, ValueError) as error:
        sys.exit(f"compare_architectures: {error}")


if __name__ == "__main__":
    main()

"""Specialisations: what a training step launches, for those who compile it ahead of time."""

from __future__ import annotations

from typing import Any

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.arguments import Specialisation, specialisation
from mixsynth_stream.kernels.training import channel_branch, feed_forward, large_branch, synth_mix, token_branch
from mixsynth_stream.kernels.training.dropout import BLOCK, dropout_fwd_kernel
from mixsynth_stream.kernels.training.large_branch import BranchTile, branch_tile
from mixsynth_stream.kernels.training.tile import TokenTile, TrainingTile, token_tile


def layer_specialisations(config: ModelConfig, precision: str) -> list[Specialisation]:
    """Each kernel that a layer launches, forward and backwards, with dropout, which takes more registers."""
    tile = TrainingTile.of_layer(config, precision)
    tile.check_fits()
    launches: list[tuple[Any, TrainingTile | TokenTile | BranchTile]] = [(dropout_fwd_kernel, tile)]
    if tile.large:
        branches = dict.fromkeys(branch_tile(tile, tokens) for tokens in (True, False))
        launches += [(kernel, branch) for kernel in large_branch.KERNELS for branch in branches]
    else:
        launches += [(kernel, tile) for kernel in (*channel_branch.KERNELS, *token_branch.KERNELS)]
    launches += [(kernel, token_tile(tile)) for kernel in (*synth_mix.KERNELS, *feed_forward.KERNELS)]
    return [
        specialisation(
            kernel,
            precision=precision,
            constexprs={"tile": program, "DROPS": True, "STREAM": 0, "BLOCK": BLOCK},
            num_warps=program.num_warps,
            name=kernel.__name__.removesuffix("_kernel"),
            reduces_channels=tile.reduces_channels,
        )
        for kernel, program in launches
    ]

"""Launch: grids, blocks and arguments of the kernels in blocks, from a `Tile`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.arguments import Specialisation, specialisation
from mixsynth_stream.kernels.blocks.kernels import (
    blocks_channel_fwd_kernel,
    blocks_embed_fwd_kernel,
    blocks_feed_forward_fwd_kernel,
    blocks_finish_fwd_kernel,
    blocks_mix_fwd_kernel,
    blocks_token_fwd_kernel,
)
from mixsynth_stream.kernels.card import INTERPRETED, launch_options
from mixsynth_stream.kernels.plan import Plan, Stages
from mixsynth_stream.kernels.tile import Tile

# Columns of a block: channels of a branch, numbers of a pose, channels or keys of a product's inner axis.
_COLUMNS = 32
# Rows of a block, and its most numbers where it holds whole rows of channels, for LayerNorm: they fill the registers.
_ROWS = 64
_CHANNEL_ROWS = 128
_WHOLE_ROWS = 64 * 128
# Packed weights in the order in which kernels take them.
_BRANCH = ("dense", "dense_bias", "pool", "pool_bias", "squeeze", "excite")
_MIX = ("reweight_fc1", "reweight_fc1_bias", "reweight_fc2", "reweight_fc2_bias", "proj", "proj_bias")


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """All that a kernel in blocks is compiled for. What it does not use stays 0, so that shapes share it."""

    precision: str
    rows: int
    columns: int
    inner: int
    keys: int = 0
    squeezed: int = 0
    reduces: bool = False


@dataclass(frozen=True, kw_only=True)
class BlockLaunch:
    """One launch. `tensors` names buffers and packed weights; `counts` are real sizes, `sizes` are padded."""

    kernel: Any
    tensors: tuple[str, ...]
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    blocks: Blocks
    per_window: tuple[int, int]  # programs a window; (0, 0): rows of all windows are divided
    num_warps: int = 8

    def grid(self, batch: int, rows: int) -> tuple[int, ...]:
        if self.per_window == (0, 0):
            return (-(-batch * rows // self.blocks.rows),)
        return (batch, *self.per_window)


@lru_cache(maxsize=256)
def block_launch(stages: Stages, tile: Tile) -> BlockLaunch:
    """The launch for one of `Plan.launches`."""
    if stages.embed:
        return _embed(tile)
    if stages.channel:
        return _channel(tile)
    if stages.token:
        return _token(tile)
    if stages.mix:
        return _mix(tile)
    if stages.feed_forward:
        return _feed_forward(tile)
    return _finish(tile)


def _embed(tile: Tile) -> BlockLaunch:
    rows, columns = min(tile.rows, _ROWS), _block(tile.padded_channels)
    return BlockLaunch(
        kernel=blocks_embed_fwd_kernel,
        tensors=("keyframes", "x", "emb", "emb_sum", "emb_bias", "interp", "interp_bias"),
        counts=(tile.keyframes, tile.numbers),
        sizes=(tile.rows, tile.padded_channels, tile.padded_keyframes, tile.padded_numbers),
        blocks=Blocks(precision=tile.precision, rows=rows, columns=columns, inner=_block(tile.padded_numbers)),
        per_window=(tile.rows // rows, tile.padded_channels // columns),
    )


def _channel(tile: Tile) -> BlockLaunch:
    rows, columns = min(tile.rows, _CHANNEL_ROWS), _block(tile.padded_channels)
    return BlockLaunch(
        kernel=blocks_channel_fwd_kernel,
        tensors=("x", "channel_out", *_branch_weights("channel", tile.reduces_channels)),
        counts=(tile.channel_keys,),
        sizes=(tile.padded_channel_keys, tile.rows, tile.padded_channels),
        blocks=Blocks(
            precision=tile.precision,
            rows=rows,
            columns=columns,
            inner=_block(tile.rows, tile.padded_channels),
            keys=_block(tile.padded_channel_keys),
            squeezed=tile.squeezed_channels,
            reduces=tile.reduces_channels,
        ),
        per_window=(tile.rows // rows, tile.padded_channels // columns),
    )


def _token(tile: Tile) -> BlockLaunch:
    rows, columns = min(tile.rows, _ROWS), _token_columns(tile)
    return BlockLaunch(
        kernel=blocks_token_fwd_kernel,
        tensors=("x", "channel_out", "token_out", "sums", *_branch_weights("token", tile.reduces_tokens)),
        counts=(tile.token_keys, tile.channels),
        sizes=(tile.padded_token_keys, tile.rows, tile.padded_channels),
        blocks=Blocks(
            precision=tile.precision,
            rows=rows,
            columns=columns,
            inner=_block(tile.rows, tile.padded_channels),
            keys=_block(tile.padded_token_keys),
            squeezed=tile.squeezed_tokens,
            reduces=tile.reduces_tokens,
        ),
        per_window=(tile.rows // rows, tile.padded_channels // columns),
    )


def _mix(tile: Tile) -> BlockLaunch:
    rows, columns = min(tile.rows, _whole_rows(tile)), tile.padded_channels
    return BlockLaunch(
        kernel=blocks_mix_fwd_kernel,
        tensors=(
            "x",
            "channel_out",
            "token_out",
            "sums",
            *_MIX,
            "norm1_weight",
            "norm1_bias",
        ),
        counts=(tile.padded_channels // _token_columns(tile), tile.channels),
        sizes=(tile.rows,),
        blocks=Blocks(
            precision=tile.precision,
            rows=rows,
            columns=columns,
            inner=_block(tile.rows, columns),
            squeezed=tile.squeezed_tokens,
        ),
        per_window=(tile.rows // rows, 1),
    )


def _feed_forward(tile: Tile) -> BlockLaunch:
    columns = tile.padded_channels
    return BlockLaunch(
        kernel=blocks_feed_forward_fwd_kernel,
        tensors=("x", "fc1", "fc1_bias", "fc2", "fc2_bias", "norm2_weight", "norm2_bias"),
        counts=(tile.channels,),
        sizes=(tile.padded_hidden,),
        blocks=Blocks(
            precision=tile.precision,
            rows=_whole_rows(tile),
            columns=columns,
            inner=_block(columns),
            keys=_block(tile.hidden_block),
        ),
        per_window=(0, 0),
    )


def _finish(tile: Tile) -> BlockLaunch:
    rows, columns = min(tile.rows, _ROWS), _block(tile.numbers_block)
    return BlockLaunch(
        kernel=blocks_finish_fwd_kernel,
        tensors=("x", "keyframes", "motion", "norm_weight", "norm_bias", "fc", "fc_bias", "interp", "interp_bias"),
        counts=(tile.keyframes, tile.numbers, tile.tokens, tile.channels),
        sizes=(tile.rows, tile.padded_channels, tile.padded_keyframes, tile.padded_numbers),
        blocks=Blocks(precision=tile.precision, rows=rows, columns=columns, inner=_block(tile.padded_channels)),
        per_window=(tile.rows // rows, tile.padded_numbers // columns),
    )


def _branch_weights(name: str, reduces: bool) -> tuple[str, ...]:
    # Where nothing is reduced no values are packed, and the kernel reads no matrix of them.
    value = "value" if reduces else "dense"
    return tuple(f"{name}_{part}" for part in (*_BRANCH, value, "value_bias"))


def _token_columns(tile: Tile) -> int:
    return min(tile.padded_channels, 2 * _COLUMNS)


def _whole_rows(tile: Tile) -> int:
    return min(_ROWS, _WHOLE_ROWS // tile.padded_channels)


def _block(*lengths: int) -> int:
    """A block that divides all lengths. Padded sizes are multiples of 16, and of 32 where they are longer."""
    return min(_COLUMNS, *(length & -length for length in lengths))


def named_weights(
    tile: Tile, matrices: Tensor, vectors: Tensor
) -> tuple[dict[str, Tensor], ...]:  # a layer each, with the weights of both ends among them
    """The packed weights by name, each as a tensor that begins where the weight starts."""
    at = tile.at
    outer = {name: matrices[getattr(at, name) :] for name in tile.outer_matrices}
    outer |= {name: vectors[getattr(at, name) :] for name in tile.outer_vectors}
    return tuple(
        outer
        | {name: matrices[i * at.matrix_stride + getattr(at, name) :] for name in tile.matrices}
        | {name: vectors[i * at.vector_stride + getattr(at, name) :] for name in tile.vectors}
        for i in range(tile.layers)
    )


def scratch_sizes(tile: Tile, batch: int) -> dict[str, int]:
    """Numbers of each buffer between launches."""
    # The feed-forward takes whole blocks of rows, wherever windows end.
    rows = -(-batch * tile.rows // _ROWS) * _ROWS
    whole = rows * tile.padded_channels
    sums = rows * (tile.padded_channels // _token_columns(tile))
    return {"x": whole, "channel_out": whole, "token_out": whole, "sums": sums}


def launch_blocks(
    plan: Plan,
    batch: int,
    buffers: Mapping[str, Tensor],  # keyframes, motion and those of scratch_sizes
    weights: tuple[dict[str, Tensor], ...],
) -> None:
    """All launches of one forward."""
    for stages, layer in plan.launches:
        launch = block_launch(stages, plan.tile)
        tensors = [buffers[name] if name in buffers else weights[layer][name] for name in launch.tensors]
        lengths = (*launch.counts, *launch.sizes)
        if INTERPRETED:
            # The interpreter turns plain integers into arrays, which newer numpy does not take as the end of a range.
            lengths = tuple(map(tl.constexpr, lengths))
        launch.kernel[launch.grid(batch, plan.tile.rows)](
            *tensors, *lengths, launch.blocks, **launch_options(launch.num_warps)
        )


def block_specialisation(stages: Stages, tile: Tile) -> Specialisation:
    """The kernel of one launch, to be compiled ahead of time."""
    launch = block_launch(stages, tile)
    return specialisation(
        launch.kernel,
        precision=tile.precision,
        constexprs={"blocks": launch.blocks},
        num_warps=launch.num_warps,
        name=f"{launch.kernel.__name__}[{launch.blocks}]",
    )

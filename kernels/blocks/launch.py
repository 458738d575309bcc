"""Grids, blocks and arguments of the kernels in `kernels.py`, from a `Tile`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.blocks.kernels import (
    tiled_channel_fwd_kernel,
    tiled_embed_fwd_kernel,
    tiled_feed_forward_fwd_kernel,
    tiled_finish_fwd_kernel,
    tiled_mix_fwd_kernel,
    tiled_token_fwd_kernel,
)
from mixsynth_stream.kernels.card import MOST_REGISTERS
from mixsynth_stream.kernels.tile import Stages, Tile

# Columns of a block: channels of a branch, numbers of a pose, channels or keys of a product's inner axis.
_COLUMNS = 32
# Rows of a block, and a register file's worth of numbers where whole rows of channels are in one, for LayerNorm.
_ROWS = 64
_CHANNEL_ROWS = 128
_WHOLE_ROWS = 64 * 128


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """All that a tiled kernel is compiled for; what one does not use stays 0, so that shapes share it."""

    precision: str
    rows: int
    columns: int
    inner: int
    keys: int = 0
    squeezed: int = 0
    reduces: bool = False


@dataclass(frozen=True, kw_only=True)
class TiledLaunch:
    """One launch. `tensors` names buffers and packed weights; `counts` are real sizes, `sizes` padded ones."""

    kernel: Any
    tensors: tuple[str, ...]
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    blocks: Blocks
    per_window: tuple[int, int]  # programs a window; (0, 0): by rows of all windows
    num_warps: int = 8

    def grid(self, batch: int, rows: int) -> tuple[int, ...]:
        if self.per_window == (0, 0):
            return (-(-batch * rows // self.blocks.rows),)
        return (batch, *self.per_window)


@lru_cache(maxsize=256)
def tiled_launch(stages: Stages, tile: Tile) -> TiledLaunch:
    """The launch for one of `Tile.launches`."""
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


def _embed(tile: Tile) -> TiledLaunch:
    rows, columns = min(tile.rows, _ROWS), _block(tile.padded_channels)
    return TiledLaunch(
        kernel=tiled_embed_fwd_kernel,
        tensors=("keyframes", "x", "emb", "emb_sum", "emb_bias", "interp", "interp_bias"),
        counts=(tile.keyframes, tile.numbers),
        sizes=(tile.rows, tile.padded_channels, tile.padded_keyframes, tile.padded_numbers),
        blocks=Blocks(precision=tile.precision, rows=rows, columns=columns, inner=_block(tile.padded_numbers)),
        per_window=(tile.rows // rows, tile.padded_channels // columns),
    )


def _channel(tile: Tile) -> TiledLaunch:
    rows, columns = min(tile.rows, _CHANNEL_ROWS), _block(tile.padded_channels)
    # Where channels are not reduced there is nothing packed for the values; the kernel does not read it then.
    value = "channel_value" if tile.reduces_channels else "channel_dense"
    return TiledLaunch(
        kernel=tiled_channel_fwd_kernel,
        tensors=("x", "channel_out", "channel_dense", "channel_dense_bias", "channel_pool", "channel_pool_bias",
                 "channel_squeeze", "channel_excite", value, "channel_value_bias"),
        counts=(tile.channel_keys,),
        sizes=(tile.padded_channel_keys, tile.rows, tile.padded_channels),
        blocks=Blocks(precision=tile.precision, rows=rows, columns=columns,
                      inner=_block(tile.rows, tile.padded_channels), keys=_block(tile.padded_channel_keys),
                      squeezed=tile.squeezed_channels, reduces=tile.reduces_channels),
        per_window=(tile.rows // rows, tile.padded_channels // columns),
    )  # fmt: skip


def _token(tile: Tile) -> TiledLaunch:
    rows, columns = min(tile.rows, _ROWS), _token_columns(tile)
    value = "token_value" if tile.reduces_tokens else "token_dense"
    return TiledLaunch(
        kernel=tiled_token_fwd_kernel,
        tensors=("x", "channel_out", "token_out", "sums", "token_dense", "token_dense_bias", "token_pool",
                 "token_pool_bias", "token_squeeze", "token_excite", value, "token_value_bias"),
        counts=(tile.token_keys, tile.channels),
        sizes=(tile.padded_token_keys, tile.rows, tile.padded_channels),
        blocks=Blocks(precision=tile.precision, rows=rows, columns=columns,
                      inner=_block(tile.rows, tile.padded_channels), keys=_block(tile.padded_token_keys),
                      squeezed=tile.squeezed_tokens, reduces=tile.reduces_tokens),
        per_window=(tile.rows // rows, tile.padded_channels // columns),
    )  # fmt: skip


def _mix(tile: Tile) -> TiledLaunch:
    rows, columns = min(tile.rows, _whole_rows(tile)), tile.padded_channels
    return TiledLaunch(
        kernel=tiled_mix_fwd_kernel,
        tensors=("x", "channel_out", "token_out", "sums", "reweight_fc1", "reweight_fc1_bias", "reweight_fc2",
                 "reweight_fc2_bias", "proj", "proj_bias", "norm1_weight", "norm1_bias"),
        counts=(tile.padded_channels // _token_columns(tile), tile.channels),
        sizes=(tile.rows,),
        blocks=Blocks(precision=tile.precision, rows=rows, columns=columns, inner=_block(tile.rows, columns),
                      squeezed=tile.squeezed_tokens),
        per_window=(tile.rows // rows, 1),
    )  # fmt: skip


def _feed_forward(tile: Tile) -> TiledLaunch:
    columns = tile.padded_channels
    return TiledLaunch(
        kernel=tiled_feed_forward_fwd_kernel,
        tensors=("x", "fc1", "fc1_bias", "fc2", "fc2_bias", "norm2_weight", "norm2_bias"),
        counts=(tile.channels,),
        sizes=(tile.padded_hidden,),
        blocks=Blocks(precision=tile.precision, rows=_whole_rows(tile), columns=columns, inner=_block(columns),
                      keys=_block(tile.hidden_block)),
        per_window=(0, 0),
    )  # fmt: skip


def _finish(tile: Tile) -> TiledLaunch:
    rows, columns = min(tile.rows, _ROWS), _block(tile.numbers_block)
    return TiledLaunch(
        kernel=tiled_finish_fwd_kernel,
        tensors=("x", "keyframes", "motion", "norm_weight", "norm_bias", "fc", "fc_bias", "interp", "interp_bias"),
        counts=(tile.keyframes, tile.numbers, tile.tokens, tile.channels),
        sizes=(tile.rows, tile.padded_channels, tile.padded_keyframes, tile.padded_numbers),
        blocks=Blocks(precision=tile.precision, rows=rows, columns=columns, inner=_block(tile.padded_channels)),
        per_window=(tile.rows // rows, tile.padded_numbers // columns),
    )


def _token_columns(tile: Tile) -> int:
    return min(tile.padded_channels, 2 * _COLUMNS)


def _whole_rows(tile: Tile) -> int:
    return min(_ROWS, _WHOLE_ROWS // tile.padded_channels)


def _block(*lengths: int) -> int:
    """A block that divides them all: padded sizes are multiples of 16, and of 32 where they are longer."""
    return min(_COLUMNS, *(length & -length for length in lengths))


def named_weights(
    tile: Tile, matrices: Tensor, vectors: Tensor
) -> tuple[dict[str, Tensor], ...]:  # a layer each, with the weights of both ends among them
    """Where each packed weight starts."""
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


def launch_tiled(
    tile: Tile,
    batch: int,
    buffers: Mapping[str, Tensor],  # keyframes, motion and those of scratch_sizes
    weights: tuple[dict[str, Tensor], ...],
) -> None:
    for stages, layer in tile.launches:
        launch = tiled_launch(stages, tile)
        tensors = [buffers[name] if name in buffers else weights[layer][name] for name in launch.tensors]
        lengths = (*launch.counts, *launch.sizes)
        if not isinstance(launch.kernel, triton.JITFunction):
            # The interpreter makes arrays of integers, and newer numpy does not count to those.
            lengths = tuple(map(tl.constexpr, lengths))
        launch.kernel[launch.grid(batch, tile.rows)](
            *tensors, *lengths, launch.blocks, num_warps=launch.num_warps, num_stages=1, maxnreg=MOST_REGISTERS
        )


def tiled_signature(launch: TiledLaunch, tile: Tile, operand: str) -> tuple[dict[str, str], tuple[int, ...]]:
    """Types of a launch's arguments by name, and the positions of those that are divisible by 16."""
    held = tile.matrices | tile.outer_matrices
    types = [operand if name in held else "*fp32" for name in launch.tensors]
    types += ["i32"] * (len(launch.counts) + len(launch.sizes)) + ["constexpr"]
    pointers, behind = len(launch.tensors), len(launch.tensors) + len(launch.counts)
    aligned = (*range(pointers), *range(behind, behind + len(launch.sizes)))
    return dict(zip(launch.kernel.arg_names, types, strict=True)), aligned

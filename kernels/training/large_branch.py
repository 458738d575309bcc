"""Large branch in training: what lies between the products of a branch, for windows that no program can hold.

A branch is the same for tokens and for channels, which are the rows of x transposed. These kernels make energies, gate
and softmax for a block of rows and all keys at once, so that energies never leave float32 and never reach memory.
Attention and the gradient of energies do, as operands, for the products of the library (`large_mix.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.arguments import Float32, Operands
from mixsynth_stream.kernels.card import launch_options
from mixsynth_stream.kernels.pieces import dot, zeros
from mixsynth_stream.kernels.training.tile import TrainingTile

# tl.dot takes no fewer rows.
_FEWEST_ROWS = 16
# Up to so many keys, a program takes more rows at once, and more of the axis that products sum over.
_FEW_KEYS = 128


@dataclass(frozen=True)
class BranchTile:
    """What a program holds of a branch's rows, and all that its kernels are compiled for."""

    precision: str
    length: int  # n, tokens or channels
    width: int  # of a row
    key_count: int  # m
    keys: int  # padded
    rows: int  # that a program holds
    inner: int
    num_warps: int = 8


def branch_tile(tile: TrainingTile, tokens: bool) -> BranchTile:
    """For the tokens' branch, or for the channels'."""
    sizes = (tile.tokens, tile.channels, tile.token_keys) if tokens else (tile.channels, tile.tokens, tile.channel_keys)
    keys = tile.padded_token_keys if tokens else tile.padded_channel_keys
    rows, inner = (64, 32) if tile.half else (32, 16)
    if keys > _FEW_KEYS:
        rows, inner = _FEWEST_ROWS, 16
    return BranchTile(tile.precision, *sizes, keys, rows, inner)


@triton.jit
def rows_times_keys(
    left: tl.tensor,  # [n, width], of one window
    right: tl.tensor,  # [m, width]
    row: tl.tensor,  # [rows]
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, keys], zero where padded
    key = tl.arange(0, tile.keys)[None, :]
    out = zeros(tile.rows, tile.keys)
    # In stages, what is read waits in shared memory and not in registers.
    for first in tl.range(0, tl.constexpr(tile.width), tl.constexpr(tile.inner), num_stages=3):
        inner = first + tl.arange(0, tile.inner)
        real = (row < tile.length)[:, None] & (inner < tile.width)[None, :]
        a = tl.load(left + row[:, None] * tile.width + inner[None, :], mask=real, other=0.0)
        real = (inner < tile.width)[:, None] & (key < tile.key_count)
        out += dot(a, tl.load(right + key * tile.width + inner[:, None], mask=real, other=0.0), tile)
    return out


@triton.jit
def attention_rows(
    rows: tl.tensor,  # [B, n, width]
    dense: tl.tensor,  # [m, width]
    dense_bias: tl.tensor,  # [m]
    gate: tl.tensor,  # [B, n]
    window: tl.tensor,
    row: tl.tensor,  # [rows]
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Each row's gate [rows], energies and attention [rows, keys]."""
    key = tl.arange(0, tile.keys)
    energies = rows_times_keys(rows + window * tile.length * tile.width, dense, row, tile)
    energies += tl.load(dense_bias + key, mask=key < tile.key_count, other=0.0)[None, :]
    own = tl.load(gate + window * tile.length + row, mask=row < tile.length, other=0.0)
    attention = tl.where((key < tile.key_count)[None, :], energies * own[:, None], -float("inf"))
    attention = tl.exp(attention - tl.max(attention, 1)[:, None])
    return own, energies, attention / tl.sum(attention, 1)[:, None]


@triton.jit
def store_keys(out: tl.tensor, value: tl.tensor, window: tl.tensor, row: tl.tensor, tile: tl.constexpr) -> None:
    """[rows, keys] to some rows of [B, n, m]."""
    key = tl.arange(0, tile.keys)[None, :]
    place = (window * tile.length + row[:, None]) * tile.key_count + key
    tl.store(out + place, value, mask=(row < tile.length)[:, None] & (key < tile.key_count))


@triton.jit
def large_branch_fwd_kernel(
    rows: Operands,  # [B, n, width]
    dense: Operands,  # [m, width]
    dense_bias: Float32,  # [m]
    gate: Float32,  # [B, n]
    attention_out: Operands,  # [B, n, m]
    tile: tl.constexpr,  # BranchTile
) -> None:
    """The attention of some rows of a window."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * tile.rows + tl.arange(0, tile.rows)
    _gate, _energies, attention = attention_rows(rows, dense, dense_bias, gate, window, row, tile)
    store_keys(attention_out, attention, window, row, tile)


@triton.jit
def large_branch_bwd_kernel(
    rows: Operands,  # [B, n, width]
    dense: Operands,  # [m, width]
    dense_bias: Float32,  # [m]
    gate: Float32,  # [B, n]
    key_values: Operands,  # [B, m, width]
    d_branch: Operands,  # [B, n, width]
    d_energies_out: Operands,  # [B, n, m], without what comes from the pool: out, as is the next one
    d_excited_out: Float32,  # [B, n]
    tile: tl.constexpr,  # BranchTile
) -> None:
    """From the gradient of the branch to that of energies and gate. Named as in the maths of `ref.py`."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * tile.rows + tl.arange(0, tile.rows)
    own, energies, attention = attention_rows(rows, dense, dense_bias, gate, window, row, tile)
    values = key_values + window * tile.key_count * tile.width
    d_attention = rows_times_keys(d_branch + window * tile.length * tile.width, values, row, tile)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 1)[:, None])
    d_excited = tl.sum(d_gated * energies, 1) * own * (1.0 - own)
    tl.store(d_excited_out + window * tile.length + row, d_excited, mask=row < tile.length)
    store_keys(d_energies_out, d_gated * own[:, None], window, row, tile)


KERNELS = (large_branch_fwd_kernel, large_branch_bwd_kernel)


def large_branch(
    tile: BranchTile,
    rows: Tensor,  # [B, n, width] operands
    dense: Tensor,  # [m, width] operands
    dense_bias: Tensor,  # [m]
    gate: Tensor,  # [B, n]
) -> Tensor:  # [B, n, m] operands
    """The attention of a branch whose gate is known."""
    attention = rows.new_empty(*rows.shape[:2], tile.key_count)
    _launch(large_branch_fwd_kernel, tile, rows, dense, dense_bias, gate, attention)
    return attention


def large_branch_bwd(
    tile: BranchTile,
    rows: Tensor,  # [B, n, width] operands
    dense: Tensor,  # [m, width] operands
    dense_bias: Tensor,  # [m]
    gate: Tensor,  # [B, n]
    values: Tensor,  # [B, m, width] operands
    d_out: Tensor,  # [B, n, width] operands
) -> tuple[Tensor, Tensor]:
    """Gradients of energies [B, n, m], without what the pool adds, and of what the gate's sigmoid takes [B, n]."""
    d_energies, d_excited = rows.new_empty(*rows.shape[:2], tile.key_count), torch.empty_like(gate)
    _launch(large_branch_bwd_kernel, tile, rows, dense, dense_bias, gate, values, d_out, d_energies, d_excited)
    return d_energies, d_excited


def _launch(kernel: Any, tile: BranchTile, rows: Tensor, *arguments: Tensor) -> None:
    options = launch_options(tile.num_warps)
    kernel[len(rows), -(-tile.length // tile.rows)](rows, *arguments, tile=tile, **options)

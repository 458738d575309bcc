"""Both branches in training, of windows that one program cannot hold: what lies between their products.

A branch is the same for tokens and for channels, which are the rows of x transposed. Energies, the gate and the softmax
are made here, for a block of rows and all keys at once, so that energies never leave float32 and never reach memory.
Attention and the gradient of energies do, as operands, for the products of the library (`large_mix.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import dot, zeros
from mixsynth_stream.kernels.tile import Tile

# Keys of a row that a program can hold, of whose rows tl.dot takes no fewer than 16.
MOST_KEYS = 512
_FEWEST_ROWS = 16
# Up to so many keys a program takes more rows, and more of the axis that products sum over, at once.
_FEW_KEYS = 128


@dataclass(frozen=True)
class BranchRows:
    """How rows of a branch are laid out; all that its kernels are compiled for."""

    precision: str
    length: int  # n, tokens or channels
    width: int  # of a row
    key_count: int  # m
    keys: int  # padded
    rows: int  # that a program holds
    inner: int
    num_warps: int = 8


def branch_layout(tile: Tile, tokens: bool) -> BranchRows:
    """Of the tokens' branch, or of the channels'."""
    sizes = (tile.tokens, tile.channels, tile.token_keys) if tokens else (tile.channels, tile.tokens, tile.channel_keys)
    keys = tile.padded_token_keys if tokens else tile.padded_channel_keys
    rows, inner = (64, 32) if tile.half else (32, 16)
    if keys > _FEW_KEYS:
        rows, inner = _FEWEST_ROWS, 16
    return BranchRows(tile.precision, *sizes, keys, rows, inner)


@triton.jit
def rows_times_keys(
    left: tl.tensor,  # [n, width], of one window
    right: tl.tensor,  # [m, width]
    row: tl.tensor,  # [rows]
    S: tl.constexpr,
) -> tl.tensor:  # [rows, keys], zero where padded
    key = tl.arange(0, S.keys)[None, :]
    out = zeros(S.rows, S.keys)
    # In stages, so that what is read waits in shared memory and not in registers.
    for first in tl.range(0, tl.constexpr(S.width), tl.constexpr(S.inner), num_stages=3):
        inner = first + tl.arange(0, S.inner)
        here = (row < S.length)[:, None] & (inner < S.width)[None, :]
        a = tl.load(left + row[:, None] * S.width + inner[None, :], mask=here, other=0.0)
        here = (inner < S.width)[:, None] & (key < S.key_count)
        out += dot(a, tl.load(right + key * S.width + inner[:, None], mask=here, other=0.0), S)
    return out


@triton.jit
def attention_rows(
    rows: tl.tensor,  # [B, n, width]
    dense: tl.tensor,  # [m, width]
    dense_bias: tl.tensor,  # [m]
    gate: tl.tensor,  # [B, n]
    window: tl.tensor,
    row: tl.tensor,  # [rows]
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Each row's gate [rows], energies and attention [rows, keys]."""
    key = tl.arange(0, S.keys)
    energies = rows_times_keys(rows + window * S.length * S.width, dense, row, S)
    energies += tl.load(dense_bias + key, mask=key < S.key_count, other=0.0)[None, :]
    own = tl.load(gate + window * S.length + row, mask=row < S.length, other=0.0)
    attention = tl.where((key < S.key_count)[None, :], energies * own[:, None], -float("inf"))
    attention = tl.exp(attention - tl.max(attention, 1)[:, None])
    return own, energies, attention / tl.sum(attention, 1)[:, None]


@triton.jit
def store_keys(out: tl.tensor, value: tl.tensor, window: tl.tensor, row: tl.tensor, S: tl.constexpr) -> None:
    """[rows, keys] to some rows of [B, n, m]."""
    key = tl.arange(0, S.keys)[None, :]
    place = (window * S.length + row[:, None]) * S.key_count + key
    tl.store(out + place, value, mask=(row < S.length)[:, None] & (key < S.key_count))


@triton.jit
def large_branch_fwd_kernel(
    rows: tl.tensor,  # [B, n, width] operands
    dense: tl.tensor,  # [m, width] operands
    dense_bias: tl.tensor,  # [m] float32
    gate: tl.tensor,  # [B, n] float32
    attention_out: tl.tensor,  # [B, n, m] operands
    S: tl.constexpr,  # BranchRows
) -> None:
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * S.rows + tl.arange(0, S.rows)
    _gate, _energies, attention = attention_rows(rows, dense, dense_bias, gate, window, row, S)
    store_keys(attention_out, attention, window, row, S)


@triton.jit
def large_branch_bwd_kernel(
    rows: tl.tensor,  # [B, n, width] operands
    dense: tl.tensor,  # [m, width] operands
    dense_bias: tl.tensor,  # [m] float32
    gate: tl.tensor,  # [B, n] float32
    key_values: tl.tensor,  # [B, m, width] operands
    d_given: tl.tensor,  # [B, n, width] operands
    d_energies_out: tl.tensor,  # [B, n, m] operands, without what comes from the pool: out, as is the next one
    d_excited_out: tl.tensor,  # [B, n] float32
    S: tl.constexpr,  # BranchRows
) -> None:
    """Named as in the maths of `ref.py`."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * S.rows + tl.arange(0, S.rows)
    own, energies, attention = attention_rows(rows, dense, dense_bias, gate, window, row, S)
    values = key_values + window * S.key_count * S.width
    d_attention = rows_times_keys(d_given + window * S.length * S.width, values, row, S)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 1)[:, None])
    d_excited = tl.sum(d_gated * energies, 1) * own * (1.0 - own)
    tl.store(d_excited_out + window * S.length + row, d_excited, mask=row < S.length)
    store_keys(d_energies_out, d_gated * own[:, None], window, row, S)

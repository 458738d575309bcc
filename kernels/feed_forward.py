"""Feed-forward: Linear, GELU, Linear, residual, LayerNorm."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.arguments import Float32, Operands
from mixsynth_stream.kernels.pieces import dot, gelu, load_windows, norm2, store_windows, vector, zeros


@triton.jit
def feed_forward(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """Linear(GELU(Linear(x))), a block of hidden numbers at a time."""
    out = zeros(tile.rows, tile.padded_channels)
    channel = tl.arange(0, tile.padded_channels)
    number = tl.arange(0, tile.hidden_block)
    for first in tl.range(0, tl.constexpr(tile.padded_hidden), tl.constexpr(tile.hidden_block), num_stages=1):
        fc1 = tl.load(matrices + tile.at.fc1 + channel[:, None] * tile.padded_hidden + (first + number)[None, :])
        hidden = gelu(dot(x, fc1, tile) + tl.load(vectors + tile.at.fc1_bias + first + number)[None, :])
        fc2 = tl.load(matrices + tile.at.fc2 + (first + number)[:, None] * tile.padded_channels + channel[None, :])
        out += dot(hidden, fc2, tile)
    return out + vector(vectors + tile.at.fc2_bias, tile.padded_channels)[None, :]


@triton.jit
def feed_forward_fwd_kernel(
    x: Float32,  # [B, T, C]
    out: Float32,  # [B, T, C]
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    tile: tl.constexpr,  # Tile
) -> None:
    """LayerNorm(x + Linear(GELU(Linear(x)))) for a group of windows."""
    group = tl.program_id(0)
    rows = load_windows(x, group, batch, tile)
    rows += feed_forward(rows, matrices, vectors, tile)
    store_windows(out, norm2(rows, vectors, tile), group, batch, tile)

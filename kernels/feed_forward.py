"""Linear, GELU, Linear, residual, LayerNorm."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import dot, gelu, load_windows, normed, store_windows, vector, zeros


@triton.jit
def feed_forward(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """Linear(GELU(Linear(x))), a block of hidden numbers at a time."""
    out = zeros(S.rows, S.padded_channels)
    channel = tl.arange(0, S.padded_channels)
    number = tl.arange(0, S.hidden_block)
    for first in tl.range(0, tl.constexpr(S.padded_hidden), tl.constexpr(S.hidden_block), num_stages=1):
        fc1 = tl.load(matrices + S.at.fc1 + channel[:, None] * S.padded_hidden + (first + number)[None, :])
        hidden = gelu(dot(x, fc1, S) + tl.load(vectors + S.at.fc1_bias + first + number)[None, :])
        fc2 = tl.load(matrices + S.at.fc2 + (first + number)[:, None] * S.padded_channels + channel[None, :])
        out += dot(hidden, fc2, S)
    return out + vector(vectors + S.at.fc2_bias, S.padded_channels)[None, :]


@triton.jit
def feed_forward_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    out: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    """LayerNorm(x + Linear(GELU(Linear(x)))) for a group of windows."""
    group = tl.program_id(0)
    rows = load_windows(x, group, batch, S)
    rows += feed_forward(rows, matrices, vectors, S)
    store_windows(out, normed(rows, vectors + S.at.norm2_weight, vectors + S.at.norm2_bias, S), group, batch, S)

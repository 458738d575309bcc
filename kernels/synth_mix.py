"""Synth mix: both branches of mixed synthetic attention, weighted token by token and projected (Section 3.3)."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.arguments import Float32, Operands
from mixsynth_stream.kernels.pieces import (
    dot,
    gelu,
    load_windows,
    matrix,
    norm1,
    only_real,
    sigmoid,
    store_windows,
    times_vector,
    vector,
)
from mixsynth_stream.kernels.synth_attention import channel_branch, token_attention, token_values


@triton.jit
def mix(
    attention: tl.tensor,  # [rows, token keys]
    values: tl.tensor,  # [token keys, channels]
    c: tl.tensor,  # [rows, channels], of the channel branch
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """proj(a_t * t + a_c * c). The token branch's t is never made: its weight a_t goes into the attention."""
    token_mean = tl.sum(only_real(values, tile.channels, tile.padded_channels), 1)
    pooled = tl.sum(only_real(c, tile.channels, tile.padded_channels), 1) + tl.sum(attention * token_mean[None, :], 1)
    hidden = times_vector(matrices + tile.at.reweight_fc1, pooled / tile.channels, tile.squeezed_tokens, tile.rows)
    hidden = gelu(hidden + vector(vectors + tile.at.reweight_fc1_bias, tile.squeezed_tokens))
    difference = times_vector(matrices + tile.at.reweight_fc2, hidden, tile.rows, tile.squeezed_tokens)
    a_t = sigmoid(difference + vector(vectors + tile.at.reweight_fc2_bias, tile.rows))
    mixed = c * (1.0 - a_t)[:, None]
    mixed += dot(attention * a_t[:, None], values, tile)
    proj = matrix(matrices + tile.at.proj, tile.padded_channels, tile.padded_channels)
    return dot(mixed, proj, tile) + vector(vectors + tile.at.proj_bias, tile.padded_channels)[None, :]


@triton.jit
def synth_mix(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """Both branches, weighted and projected."""
    c = channel_branch(x, matrices, vectors, tile)
    attention = token_attention(x, matrices, vectors, tile)
    return mix(attention, token_values(x, matrices, vectors, tile), c, matrices, vectors, tile)


@triton.jit
def synth_mix_fwd_kernel(
    x: Float32,  # [B, T, C]
    out: Float32,  # [B, T, C]
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    tile: tl.constexpr,  # Tile
    NORM: tl.constexpr,
) -> None:
    """The mixture for a group of windows; with NORM, LayerNorm(x + mixture)."""
    group = tl.program_id(0)
    rows = load_windows(x, group, batch, tile)
    mixed = synth_mix(rows, matrices, vectors, tile)
    if NORM:
        mixed = norm1(rows + mixed, vectors, tile)
    store_windows(out, mixed, group, batch, tile)

"""Both branches of mixed synthetic attention, re-weighted token by token and projected (Section 3.3)."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import (
    dot,
    gelu,
    load_windows,
    matrix,
    normed,
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
    out: tl.tensor,  # [rows, channels], what the channels give
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """proj(a_t * t + a_c * c). What the tokens give is never made by itself: a_t goes into their attention."""
    token_mean = tl.sum(only_real(values, S.channels, S.padded_channels), 1)
    pooled = tl.sum(only_real(out, S.channels, S.padded_channels), 1) + tl.sum(attention * token_mean[None, :], 1)
    hidden = times_vector(matrices + S.at.reweight_fc1, pooled / S.channels, S.squeezed_tokens, S.rows)
    hidden = gelu(hidden + vector(vectors + S.at.reweight_fc1_bias, S.squeezed_tokens))
    difference = times_vector(matrices + S.at.reweight_fc2, hidden, S.rows, S.squeezed_tokens)
    a_t = sigmoid(difference + vector(vectors + S.at.reweight_fc2_bias, S.rows))
    out *= (1.0 - a_t)[:, None]
    out += dot(attention * a_t[:, None], values, S)
    proj = matrix(matrices + S.at.proj, S.padded_channels, S.padded_channels)
    return dot(out, proj, S) + vector(vectors + S.at.proj_bias, S.padded_channels)[None, :]


@triton.jit
def both_branches(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    out = channel_branch(x, matrices, vectors, S)
    attention = token_attention(x, matrices, vectors, S)
    return mix(attention, token_values(x, matrices, vectors, S), out, matrices, vectors, S)


@triton.jit
def synth_mix_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    out: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
    NORM: tl.constexpr,
) -> None:
    """The mixture for a group of windows; with NORM, LayerNorm(x + mixture)."""
    group = tl.program_id(0)
    rows = load_windows(x, group, batch, S)
    mixed = both_branches(rows, matrices, vectors, S)
    if NORM:
        mixed = normed(rows + mixed, vectors + S.at.norm1_weight, vectors + S.at.norm1_bias, S)
    store_windows(out, mixed, group, batch, S)

"""The mixture and its dropout in training, up to the first LayerNorm; and backwards to both branches.

Once its weights are known tokens do not meet here, so a program takes a block of them, wherever windows end: `batch`
counts tokens. The weights, for which they do meet, are made and taken back where the token branch is.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import (
    dot,
    gelu,
    load_windows,
    sigmoid,
    store_windows,
    times_vector,
    vector,
    zeros,
)
from mixsynth_stream.kernels.training.dropout import factors
from mixsynth_stream.kernels.training.pieces import gelu_slope, load_columns, load_tokens, store_tokens, vector_times


@triton.jit
def proj_block(
    first: tl.tensor,
    matrices: tl.tensor,
    ROWS: tl.constexpr,  # whether the block is of rows (channels of the mixture) or of columns
    S: tl.constexpr,
) -> tl.tensor:  # [channel block, channels] or [channels, channel block]
    some, every = first + tl.arange(0, S.channel_block), tl.arange(0, S.padded_channels)
    if ROWS:
        return tl.load(matrices + S.at.proj + some[:, None] * S.padded_channels + every[None, :])
    else:
        return tl.load(matrices + S.at.proj + every[:, None] * S.padded_channels + some[None, :])


@triton.jit(do_not_specialize=["batch"])
def synth_mix_train_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    token_out: tl.tensor,  # [B, T, C] float32
    channel_out: tl.tensor,  # [B, T, C] float32
    token_weight: tl.tensor,  # [B, T] float32
    summed: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    kept_proj: tl.tensor,  # [B, T, C] int8
    share: float,
    batch: int,
    S: tl.constexpr,  # TokenRows
    DROPS: tl.constexpr,
) -> None:
    """summed = x + dropped proj(a_t * t + a_c * c)."""
    group = tl.program_id(0)
    a_t = load_tokens(token_weight, group, batch, S)[:, None]
    made = zeros(S.rows, S.padded_channels)
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        t = load_columns(token_out, first, group, batch, S.channels, S.channel_block, S)
        given = load_columns(channel_out, first, group, batch, S.channels, S.channel_block, S)
        made += dot(given + (t - given) * a_t, proj_block(first, matrices, True, S), S)
    made += vector(vectors + S.at.proj_bias, S.padded_channels)[None, :]
    if DROPS:
        made *= factors(kept_proj, share, group, batch, 0, S.channels, S.padded_channels, S)
    store_windows(summed, load_windows(x, group, batch, S) + made, group, batch, S)


@triton.jit
def reweight(
    mean: tl.tensor,  # [rows], of both branches over the channels
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """What GELU takes [squeezed tokens], and the token branch's weight [rows]."""
    before = times_vector(matrices + S.at.reweight_fc1, mean, S.squeezed_tokens, S.rows)
    before += vector(vectors + S.at.reweight_fc1_bias, S.squeezed_tokens)
    difference = times_vector(matrices + S.at.reweight_fc2, gelu(before), S.rows, S.squeezed_tokens)
    return before, sigmoid(difference + vector(vectors + S.at.reweight_fc2_bias, S.rows))


@triton.jit
def reweight_bwd(
    d_difference: tl.tensor,  # [rows]
    before: tl.tensor,  # [squeezed tokens]
    matrices: tl.tensor,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Gradients of what GELU takes [squeezed tokens], and of every number in a row of both branches [rows]."""
    d_before = vector_times(d_difference, matrices + S.at.reweight_fc2, S.rows, S.squeezed_tokens) * gelu_slope(before)
    return d_before, vector_times(d_before, matrices + S.at.reweight_fc1, S.squeezed_tokens, S.rows) / S.channels


@triton.jit(do_not_specialize=["batch"])
def synth_mix_bwd_kernel(
    d_proj: tl.tensor,  # [B, T, C] operands
    token_out: tl.tensor,  # [B, T, C] float32
    channel_out: tl.tensor,  # [B, T, C] float32
    token_weight: tl.tensor,  # [B, T] float32
    d_token_out: tl.tensor,  # [B, T, C] float32, without what comes through the weights: out, as are those below
    d_channel_out: tl.tensor,  # [B, T, C] float32, likewise
    d_difference: tl.tensor,  # [B, T] float32
    mixed_out: tl.tensor,  # [B, T, C] operands, what the projection took
    matrices: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # TokenRows
) -> None:
    """Named as in the maths of `ref.py`."""
    group = tl.program_id(0)
    d_mixed = zeros(S.rows, S.padded_channels)
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        block = load_columns(d_proj, first, group, batch, S.channels, S.channel_block, S)
        d_mixed += dot(block, tl.trans(proj_block(first, matrices, False, S)), S)
    a_t = load_tokens(token_weight, group, batch, S)
    given = load_windows(channel_out, group, batch, S)
    gap = load_windows(token_out, group, batch, S) - given
    store_windows(mixed_out, given + gap * a_t[:, None], group, batch, S)
    store_tokens(d_difference, tl.sum(d_mixed * gap, 1) * a_t * (1.0 - a_t), group, batch, S)
    store_windows(d_token_out, d_mixed * a_t[:, None], group, batch, S)
    store_windows(d_channel_out, d_mixed * (1.0 - a_t)[:, None], group, batch, S)

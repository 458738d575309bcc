"""The token branch, the mixture and its dropout in training, up to the first LayerNorm; and backwards.

One window a program. What the channels give comes from, and its gradient goes to, a launch of its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.dropout import factors
from mixsynth_stream.kernels.product import (
    dot,
    gelu,
    load_windows,
    load_windows_again,
    matrix,
    only_real,
    sigmoid,
    store_windows,
    times_vector,
    vector,
)
from mixsynth_stream.kernels.product_bwd import (
    gelu_slope,
    store_vectors,
    vector_times,
)
from mixsynth_stream.kernels.synth_attention import token_attention, token_values
from mixsynth_stream.kernels.synth_mix import mix


@triton.jit(do_not_specialize=["batch"])
def synth_mix_train_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    channel_out: tl.tensor,  # [B, T, C] float32
    summed: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    kept_proj: tl.tensor,  # [B, T, C] int8
    share: float,
    batch: int,
    S: tl.constexpr,  # Tile
    DROPS: tl.constexpr,
) -> None:
    """summed = x + dropped mixture."""
    group = tl.program_id(0)
    rows = load_windows(x, group, batch, S)
    attention = token_attention(rows, matrices, vectors, S)
    values = token_values(rows, matrices, vectors, S)
    mixed = mix(attention, values, load_windows(channel_out, group, batch, S), matrices, vectors, S)
    if DROPS:
        mixed *= factors(kept_proj, share, group, batch, 0, S.channels, S.padded_channels, S)
    # Read again: kept in registers all the while, it would push others out.
    store_windows(summed, load_windows_again(x, group, batch, S) + mixed, group, batch, S)


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
    x: tl.tensor,  # [B, T, C] float32
    channel_out: tl.tensor,  # [B, T, C] float32
    d_proj: tl.tensor,  # [B, T, C] operands
    d_token_out: tl.tensor,  # [B, T, C] float32: out, as are those below
    d_channel_out: tl.tensor,  # [B, T, C] float32
    mixed_out: tl.tensor,  # [B, T, C] operands, what the projection took
    small: tl.tensor,  # [B, 2 * rows + 2 * squeezed] float32, see `encoder_layer.py`
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    """Back to both branches; named as in the maths of `ref_bwd.py`."""
    window = tl.program_id(0)
    attention = token_attention(load_windows(x, window, batch, S), matrices, vectors, S)
    t = dot(attention, token_values(load_windows_again(x, window, batch, S), matrices, vectors, S), S)
    given = load_windows(channel_out, window, batch, S)
    mean = tl.sum(only_real(t + given, S.channels, S.padded_channels), 1) / S.channels
    before, a_t = reweight(mean, matrices, vectors, S)
    gap = t - given
    store_windows(mixed_out, given + gap * a_t[:, None], window, batch, S)

    proj = matrix(matrices + S.at.proj, S.padded_channels, S.padded_channels)
    d_mixed = dot(load_windows(d_proj, window, batch, S), tl.trans(proj), S)
    d_difference = tl.sum(d_mixed * gap, 1) * a_t * (1.0 - a_t)
    d_before, d_mean = reweight_bwd(d_difference, before, matrices, S)
    store_windows(d_token_out, d_mixed * a_t[:, None] + d_mean[:, None], window, batch, S)
    store_windows(d_channel_out, d_mixed * (1.0 - a_t)[:, None] + d_mean[:, None], window, batch, S)
    small += window.to(tl.int64) * 2 * (S.rows + S.squeezed_tokens)
    store_vectors(small, mean, d_difference, S.rows)
    store_vectors(small + 2 * S.rows, gelu(before), d_before, S.squeezed_tokens)

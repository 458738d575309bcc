"""The token branch, the mixture and its dropout in training, up to the first LayerNorm; and backwards.

One window a program. What the channels give comes from, and its gradient goes to, a launch of its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.dropout import PROJ, kept
from mixsynth_stream.kernels.product import (
    dot,
    gelu,
    load_windows,
    matrix,
    only_real,
    sigmoid,
    store_windows,
    times_vector,
    vector,
)
from mixsynth_stream.kernels.product_bwd import (
    gelu_slope,
    squeeze_excite_bwd,
    store_columns,
    store_keys,
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
    seed: tl.tensor,  # [1] int64
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
        mixed *= kept(seed, share, group, batch, 0, S.channels, S.padded_channels, PROJ, S)
    store_windows(summed, rows + mixed, group, batch, S)


@triton.jit
def token_attention_again(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """`token_attention`, with what its gradient needs: mean energies, squeezed, gate, energies, attention."""
    pooled = tl.sum(x * vector(vectors + S.at.token_pool, S.padded_channels)[None, :], 1)
    pooled += tl.load(vectors + S.at.token_pool_bias)
    squeezed = tl.maximum(times_vector(matrices + S.at.token_squeeze, pooled, S.squeezed_tokens, S.rows), 0.0)
    gate = sigmoid(times_vector(matrices + S.at.token_excite, squeezed, S.rows, S.squeezed_tokens))
    dense = matrix(matrices + S.at.token_dense, S.padded_channels, S.padded_token_keys)
    energies = dot(x, dense, S) + vector(vectors + S.at.token_dense_bias, S.padded_token_keys)[None, :]
    key = tl.arange(0, S.padded_token_keys)[None, :]
    attention = tl.where(key < S.token_keys, energies * gate[:, None], -float("inf"))
    attention = tl.exp(attention - tl.max(attention, 1)[:, None])
    return pooled, squeezed, gate, energies, attention / tl.sum(attention, 1)[:, None]


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
    d_summed: tl.tensor,  # [B, T, C] float32, the residual's part of the gradient of x
    d_proj: tl.tensor,  # [B, T, C] operands
    d_x: tl.tensor,  # [B, T, C] float32: out, as are those below
    d_channel_out: tl.tensor,  # [B, T, C] float32
    mixed_out: tl.tensor,  # [B, T, C] operands, what the projection took
    d_energies_out: tl.tensor,  # [B, T, m] operands
    d_values_out: tl.tensor,  # [m, B, C] operands, where tokens are reduced
    small: tl.tensor,  # [B, 4 * rows + 4 * squeezed] float32, see `encoder_layer.py`
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    """Named as in the maths of `ref_bwd.py`."""
    window = tl.program_id(0)
    small += window.to(tl.int64) * 4 * (S.rows + S.squeezed_tokens)
    rows = load_windows(x, window, batch, S)
    pooled, squeezed, gate, energies, attention = token_attention_again(rows, matrices, vectors, S)
    values = token_values(rows, matrices, vectors, S)
    values_sum = tl.sum(only_real(values, S.channels, S.padded_channels), 1)
    given = load_windows(channel_out, window, batch, S)
    mean = (tl.sum(given, 1) + tl.sum(attention * values_sum[None, :], 1)) / S.channels
    before, a_t = reweight(mean, matrices, vectors, S)
    weighted = attention * a_t[:, None]
    store_windows(mixed_out, given * (1.0 - a_t)[:, None] + dot(weighted, values, S), window, batch, S)

    proj = matrix(matrices + S.at.proj, S.padded_channels, S.padded_channels)
    d_mixed = dot(load_windows(d_proj, window, batch, S), tl.trans(proj), S)
    d_attention = dot(d_mixed, tl.trans(values), S)
    # sum(d_mixed * t) without t: t = attention @ values.
    d_difference = tl.sum(attention * d_attention, 1) - tl.sum(d_mixed * given, 1)
    d_difference *= a_t * (1.0 - a_t)
    d_before, d_mean = reweight_bwd(d_difference, before, matrices, S)
    store_windows(d_channel_out, d_mixed * (1.0 - a_t)[:, None] + d_mean[:, None], window, batch, S)
    d_values = dot(tl.trans(weighted), d_mixed, S) + tl.sum(attention * d_mean[:, None], 0)[:, None]
    d_rows = load_windows(d_summed, window, batch, S)
    if S.reduces_tokens:
        store_keys(d_values_out, d_values, window, batch, S.token_keys, S.padded_token_keys, S)
        reduce = matrix(matrices + S.at.token_value, S.padded_token_keys, S.rows)
        d_rows += dot(tl.trans(reduce), d_values, S)
    else:
        d_rows += d_values

    d_attention = a_t[:, None] * d_attention + d_mean[:, None] * values_sum[None, :]
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 1)[:, None])
    d_excited = tl.sum(d_gated * energies, 1) * gate * (1.0 - gate)
    d_squeezed, d_pooled = squeeze_excite_bwd(
        d_excited, squeezed, matrices + S.at.token_squeeze, matrices + S.at.token_excite, S.rows, S.squeezed_tokens
    )
    # The pool is a mean of energies, so its gradient joins theirs.
    own = tl.arange(0, S.padded_token_keys)[None, :] < S.token_keys
    d_energies = d_gated * gate[:, None] + tl.where(own, d_pooled[:, None] / S.token_keys, 0.0)
    store_columns(d_energies_out, d_energies, 0, window, batch, S.token_keys, S.padded_token_keys, S)
    dense = matrix(matrices + S.at.token_dense, S.padded_channels, S.padded_token_keys)
    store_windows(d_x, d_rows + dot(d_energies, tl.trans(dense), S), window, batch, S)

    store_vectors(small, pooled, d_excited, mean, d_difference, S.rows)
    store_vectors(small + 4 * S.rows, squeezed, d_squeezed, gelu(before), d_before, S.squeezed_tokens)

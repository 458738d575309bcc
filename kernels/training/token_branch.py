"""The token branch in training, with what weighs the mixture of both: a launch forward, and one backwards.

One window a program, of which a block of channels is in registers at a time. Backwards named as in the maths of
`ref.py`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import dot, gelu, line, matrix, sigmoid, times_vector, vector, zeros
from mixsynth_stream.kernels.training.pieces import (
    block_of,
    keys_of,
    load_columns,
    load_tokens,
    squeeze_excite_bwd,
    store_columns,
    store_tokens,
    store_vectors,
)
from mixsynth_stream.kernels.training.synth_mix import reweight, reweight_bwd


@triton.jit
def token_dense(
    first: tl.tensor,  # channel
    matrices: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [channel block, token keys]
    channel, key = first + tl.arange(0, S.channel_block), tl.arange(0, S.padded_token_keys)
    return tl.load(matrices + S.at.token_dense + channel[:, None] * S.padded_token_keys + key[None, :])


@triton.jit
def token_attention_again(
    x: tl.tensor,  # [B, T, C]
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """`token_attention`, with what its gradient needs: mean energies, squeezed, gate, energies, attention."""
    pooled = line(0.0, S.rows) + tl.load(vectors + S.at.token_pool_bias)
    energies = zeros(S.rows, S.padded_token_keys)
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        rows = load_columns(x, first, window, batch, S.channels, S.channel_block, S)
        pool = tl.load(vectors + S.at.token_pool + first + tl.arange(0, S.channel_block))
        pooled += tl.sum(rows * pool[None, :], 1)
        energies += dot(rows, token_dense(first, matrices, S), S)
    energies += vector(vectors + S.at.token_dense_bias, S.padded_token_keys)[None, :]
    squeezed = tl.maximum(times_vector(matrices + S.at.token_squeeze, pooled, S.squeezed_tokens, S.rows), 0.0)
    gate = sigmoid(times_vector(matrices + S.at.token_excite, squeezed, S.rows, S.squeezed_tokens))
    key = tl.arange(0, S.padded_token_keys)[None, :]
    attention = tl.where(key < S.token_keys, energies * gate[:, None], -float("inf"))
    attention = tl.exp(attention - tl.max(attention, 1)[:, None])
    return pooled, squeezed, gate, energies, attention / tl.sum(attention, 1)[:, None]


@triton.jit
def token_value_columns(
    x: tl.tensor,  # [B, T, C]
    first: tl.tensor,  # channel
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [token keys, channel block]
    if S.reduces_tokens:
        values = zeros(S.padded_token_keys, S.channel_block)
        key = tl.arange(0, S.padded_token_keys)
        for row_first in tl.range(0, tl.constexpr(S.rows), tl.constexpr(S.row_block), num_stages=1):
            row = row_first + tl.arange(0, S.row_block)
            reduce = tl.load(matrices + S.at.token_value + key[:, None] * S.rows + row[None, :])
            place, here = block_of(row_first, first, window, S.channels, S.channel_block, S)
            values += dot(reduce, tl.load(x + place, mask=here, other=0.0), S)
        return values + vector(vectors + S.at.token_value_bias, S.padded_token_keys)[:, None]
    else:
        return load_columns(x, first, window, batch, S.channels, S.channel_block, S)


@triton.jit(do_not_specialize=["batch"])
def token_branch_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    channel_out: tl.tensor,  # [B, T, C] float32
    token_out: tl.tensor,  # [B, T, C] float32: out, as are those below
    mean_out: tl.tensor,  # [B, T] float32, of both branches over the channels
    token_weight: tl.tensor,  # [B, T] float32, a_t
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    window = tl.program_id(0)
    _, _, _, _, attention = token_attention_again(x, window, batch, matrices, vectors, S)
    mean = line(0.0, S.rows)
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        t = dot(attention, token_value_columns(x, first, window, batch, matrices, vectors, S), S)
        store_columns(token_out, t, first, window, batch, S.channels, S.channel_block, S)
        both = t + load_columns(channel_out, first, window, batch, S.channels, S.channel_block, S)
        real = (first + tl.arange(0, S.channel_block) < S.channels)[None, :]
        mean += tl.sum(tl.where(real, both, 0.0), 1) / S.channels
    store_tokens(mean_out, mean, window, batch, S)
    _, a_t = reweight(mean, matrices, vectors, S)
    store_tokens(token_weight, a_t, window, batch, S)


@triton.jit
def d_given_columns(
    d_out: tl.tensor,  # [B, T, C]
    d_mean: tl.tensor,  # [rows]
    first: tl.tensor,  # channel
    window: tl.tensor,
    batch: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channel block], zero where padded
    """The gradient of what a branch gives, with what comes through the mixture's weights."""
    d_given = load_columns(d_out, first, window, batch, S.channels, S.channel_block, S) + d_mean[:, None]
    return tl.where((first + tl.arange(0, S.channel_block) < S.channels)[None, :], d_given, 0.0)


@triton.jit
def token_weight_bwd(
    mean: tl.tensor,  # [B, T]
    d_difference: tl.tensor,  # [B, T]
    d_mean_out: tl.tensor,  # [B, T]
    small: tl.tensor,  # [B, 2 * squeezed]
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows]
    """What every number of both branches gets through the mixture's weights, which is also stored."""
    before, _ = reweight(load_tokens(mean, window, batch, S), matrices, vectors, S)
    d_before, d_mean = reweight_bwd(load_tokens(d_difference, window, batch, S), before, matrices, S)
    store_vectors(small + window.to(tl.int64) * 2 * S.squeezed_tokens, gelu(before), d_before, S.squeezed_tokens)
    store_tokens(d_mean_out, d_mean, window, batch, S)
    return d_mean


@triton.jit
def token_values_bwd(
    attention: tl.tensor,  # [rows, token keys]
    d_mean: tl.tensor,  # [rows]
    d_token_out: tl.tensor,  # [B, T, C]
    d_x: tl.tensor,  # [B, T, C], to which it is added where the values are x itself
    d_values_out: tl.tensor,  # [m, B, C], where it goes otherwise
    window: tl.tensor,
    batch: tl.tensor,
    S: tl.constexpr,
) -> None:
    """The gradient of the values. A loop of its own: beside the other products it would push registers out."""
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        d_given = d_given_columns(d_token_out, d_mean, first, window, batch, S)
        # This way round the attention, which stays in registers for all channels, takes the fewest of them.
        d_values = tl.trans(dot(tl.trans(d_given), attention, S))
        if S.reduces_tokens:
            place, here = keys_of(0, first, window, batch, S.token_keys, S.padded_token_keys, S.channel_block, S)
            tl.store(d_values_out + place, d_values, mask=here)
        else:
            d_values += load_columns(d_x, first, window, batch, S.channels, S.channel_block, S)
            store_columns(d_x, d_values, first, window, batch, S.channels, S.channel_block, S)


@triton.jit(do_not_specialize=["batch"])
def token_branch_bwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    d_token_out: tl.tensor,  # [B, T, C] float32
    mean: tl.tensor,  # [B, T] float32
    d_difference: tl.tensor,  # [B, T] float32
    d_x: tl.tensor,  # [B, T, C] float32: the residual's part of the gradient of x goes in, and this branch's is added
    d_mean_out: tl.tensor,  # [B, T] float32: out, as are those below
    d_energies_out: tl.tensor,  # [B, T, m] operands
    d_values_out: tl.tensor,  # [m, B, C] operands, where tokens are reduced
    mix_small: tl.tensor,  # [B, 2 * squeezed] float32
    small: tl.tensor,  # [B, 2 * rows + 2 * squeezed] float32, see `encoder_layer.py`
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    window = tl.program_id(0)
    d_mean = token_weight_bwd(mean, d_difference, d_mean_out, mix_small, window, batch, matrices, vectors, S)
    pooled, squeezed, gate, energies, attention = token_attention_again(x, window, batch, matrices, vectors, S)
    token_values_bwd(attention, d_mean, d_token_out, d_x, d_values_out, window, batch, S)
    d_attention = zeros(S.rows, S.padded_token_keys)
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        values = token_value_columns(x, first, window, batch, matrices, vectors, S)
        d_attention += dot(d_given_columns(d_token_out, d_mean, first, window, batch, S), tl.trans(values), S)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 1)[:, None])
    d_excited = tl.sum(d_gated * energies, 1) * gate * (1.0 - gate)
    d_squeezed, d_pooled = squeeze_excite_bwd(
        d_excited, squeezed, matrices + S.at.token_squeeze, matrices + S.at.token_excite, S.rows, S.squeezed_tokens
    )
    # The pool is a mean of energies, so its gradient joins theirs.
    own = tl.arange(0, S.padded_token_keys)[None, :] < S.token_keys
    d_energies = d_gated * gate[:, None] + tl.where(own, d_pooled[:, None] / S.token_keys, 0.0)
    store_columns(d_energies_out, d_energies, 0, window, batch, S.token_keys, S.padded_token_keys, S)
    small += window.to(tl.int64) * 2 * (S.rows + S.squeezed_tokens)
    store_vectors(small, pooled, d_excited, S.rows)
    store_vectors(small + 2 * S.rows, squeezed, d_squeezed, S.squeezed_tokens)
    # What is read back here was stored by other threads.
    tl.debug_barrier()
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        d_rows = dot(d_energies, tl.trans(token_dense(first, matrices, S)), S)
        if S.reduces_tokens:
            place, here = keys_of(0, first, window, batch, S.token_keys, S.padded_token_keys, S.channel_block, S)
            reduce = matrix(matrices + S.at.token_value, S.padded_token_keys, S.rows)
            d_rows += dot(tl.trans(reduce), tl.load(d_values_out + place, mask=here, other=0.0), S)
        d_rows += load_columns(d_x, first, window, batch, S.channels, S.channel_block, S)
        store_columns(d_x, d_rows, first, window, batch, S.channels, S.channel_block, S)

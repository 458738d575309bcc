"""The channel branch in a launch of its own, and both branches backwards, a launch each.

One window a program; as in the forward, a channel is a column and nothing of x is transposed.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.product import (
    dot,
    load_windows,
    load_windows_again,
    matrix,
    sigmoid,
    store_windows,
    times_vector,
    vector,
    window_rows,
    zeros,
)
from mixsynth_stream.kernels.product_bwd import squeeze_excite_bwd, store_columns, store_keys, store_vectors
from mixsynth_stream.kernels.synth_attention import channel_branch, channel_values, token_values


@triton.jit(do_not_specialize=["batch"])
def channel_branch_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    channel_out: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    group = tl.program_id(0)
    given = channel_branch(load_windows(x, group, batch, S), matrices, vectors, S)
    store_windows(channel_out, given, group, batch, S)


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


@triton.jit(do_not_specialize=["batch"])
def token_branch_bwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    d_token_out: tl.tensor,  # [B, T, C] float32
    d_x: tl.tensor,  # [B, T, C] float32: the residual's part of the gradient of x goes in, and this branch's is added
    d_energies_out: tl.tensor,  # [B, T, m] operands: out, as are those below
    d_values_out: tl.tensor,  # [m, B, C] operands, where tokens are reduced
    small: tl.tensor,  # [B, 2 * rows + 2 * squeezed] float32, see `encoder_layer.py`
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    """Named as in the maths of `ref_bwd.py`."""
    window = tl.program_id(0)
    rows = load_windows(x, window, batch, S)
    pooled, squeezed, gate, energies, attention = token_attention_again(rows, matrices, vectors, S)
    values = token_values(rows, matrices, vectors, S)
    d_attention = dot(load_windows(d_token_out, window, batch, S), tl.trans(values), S)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 1)[:, None])
    d_excited = tl.sum(d_gated * energies, 1) * gate * (1.0 - gate)
    d_squeezed, d_pooled = squeeze_excite_bwd(
        d_excited, squeezed, matrices + S.at.token_squeeze, matrices + S.at.token_excite, S.rows, S.squeezed_tokens
    )
    # The pool is a mean of energies, so its gradient joins theirs.
    own = tl.arange(0, S.padded_token_keys)[None, :] < S.token_keys
    d_energies = d_gated * gate[:, None] + tl.where(own, d_pooled[:, None] / S.token_keys, 0.0)
    store_columns(d_energies_out, d_energies, 0, window, batch, S.token_keys, S.padded_token_keys, S)
    # Read again: kept in registers all the while, it would push others out.
    d_values = dot(tl.trans(attention), load_windows_again(d_token_out, window, batch, S), S)
    dense = matrix(matrices + S.at.token_dense, S.padded_channels, S.padded_token_keys)
    d_rows = dot(d_energies, tl.trans(dense), S)
    if S.reduces_tokens:
        store_keys(d_values_out, d_values, window, batch, S.token_keys, S.padded_token_keys, S)
        reduce = matrix(matrices + S.at.token_value, S.padded_token_keys, S.rows)
        d_rows += dot(tl.trans(reduce), d_values, S)
    else:
        d_rows += d_values
    store_windows(d_x, load_windows(d_x, window, batch, S) + d_rows, window, batch, S)
    small += window.to(tl.int64) * 2 * (S.rows + S.squeezed_tokens)
    store_vectors(small, pooled, d_excited, S.rows)
    store_vectors(small + 2 * S.rows, squeezed, d_squeezed, S.squeezed_tokens)


@triton.jit
def channel_columns_bwd(
    first: tl.tensor,  # channel
    values: tl.tensor,  # [rows, channel keys]
    squeezed: tl.tensor,  # [squeezed channels]
    x: tl.tensor,  # [B, T, C]
    d_channel_out: tl.tensor,  # [B, T, C]
    d_x: tl.tensor,  # [B, T, C], what came through the energies is added
    d_energies_out: tl.tensor,  # [n, B, C]
    d_excited_out: tl.tensor,  # [padded channels] of this window
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> tl.tensor:  # [rows, channel keys], this block's part of the gradient of the values
    """A block of channels: each has its own energies, softmax and gate."""
    place, there = window_rows(window, batch, S.channels, S)
    channel = first + tl.arange(0, COLUMNS)
    here = there[:, None] & (channel < S.channels)[None, :]
    rows = tl.load(x + place[:, None] + channel[None, :], mask=here, other=0.0)
    d_given = tl.load(d_channel_out + place[:, None] + channel[None, :], mask=here, other=0.0)
    gate = sigmoid(
        times_vector(
            matrices + S.at.channel_excite + first * S.squeezed_channels, squeezed, COLUMNS, S.squeezed_channels
        )
    )
    key = tl.arange(0, S.padded_channel_keys)
    dense = matrix(matrices + S.at.channel_dense, S.padded_channel_keys, S.rows)
    energies = dot(dense, rows, S) + vector(vectors + S.at.channel_dense_bias, S.padded_channel_keys)[:, None]
    attention = tl.where((key < S.channel_keys)[:, None], energies * gate[None, :], -float("inf"))
    attention = tl.exp(attention - tl.max(attention, 0)[None, :])
    attention /= tl.sum(attention, 0)[None, :]
    d_attention = dot(tl.trans(values), d_given, S)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 0)[None, :])
    tl.store(d_excited_out + channel, tl.sum(d_gated * energies, 0) * gate * (1.0 - gate))
    d_energies = d_gated * gate[None, :]
    into = (key.to(tl.int64) * batch + window)[:, None] * S.channels + channel[None, :]
    real = (key < S.channel_keys)[:, None] & (channel < S.channels)[None, :]
    tl.store(d_energies_out + into, d_energies, mask=real)
    d_rows = tl.load(d_x + place[:, None] + channel[None, :], mask=here, other=0.0)
    tl.store(d_x + place[:, None] + channel[None, :], d_rows + dot(tl.trans(dense), d_energies, S), mask=here)
    return dot(d_given, tl.trans(attention), S)


@triton.jit(do_not_specialize=["batch"])
def channel_branch_bwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    d_channel_out: tl.tensor,  # [B, T, C] float32
    d_x: tl.tensor,  # [B, T, C] float32: the other parts of the gradient of x go in, all of it comes out
    d_energies_out: tl.tensor,  # [n, B, C] operands, without what comes from the pool: out, as are those below
    d_pooled_out: tl.tensor,  # [B, C] float32
    d_values_out: tl.tensor,  # [B, T, n] operands, where channels are reduced
    small: tl.tensor,  # [B, 2 * channels + 2 * squeezed] float32, see `encoder_layer.py`
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
    COLUMNS: tl.constexpr,  # channels at once
) -> None:
    """Named as in the maths of `ref_bwd.py`; a block of channels after the other, because energies are wide."""
    window = tl.program_id(0)
    small += window.to(tl.int64) * 2 * (S.padded_channels + S.squeezed_channels)
    rows = load_windows(x, window, batch, S)
    pool = vector(vectors + S.at.channel_pool, S.rows)
    pooled = tl.sum(rows * pool[:, None], 0) + tl.load(vectors + S.at.channel_pool_bias)
    squeeze, excite = matrices + S.at.channel_squeeze, matrices + S.at.channel_excite
    squeezed = tl.maximum(times_vector(squeeze, pooled, S.squeezed_channels, S.padded_channels), 0.0)
    values = channel_values(rows, matrices, vectors, S)
    d_values = zeros(S.rows, S.padded_channel_keys)
    for first in tl.range(0, tl.constexpr(S.padded_channels), COLUMNS, num_stages=1):
        d_values += channel_columns_bwd(
            first, values, squeezed, x, d_channel_out, d_x, d_energies_out, small + S.padded_channels, window, batch,
            matrices, vectors, S, COLUMNS,
        )  # fmt: skip
    if S.reduces_channels:
        store_columns(d_values_out, d_values, 0, window, batch, S.channel_keys, S.padded_channel_keys, S)
        reduce = matrix(matrices + S.at.channel_value, S.padded_channels, S.padded_channel_keys)
        d_rows = dot(d_values, tl.trans(reduce), S)
    else:
        d_rows = d_values

    # What the blocks have stored is read back by other threads.
    tl.debug_barrier()
    channel = tl.arange(0, S.padded_channels)
    d_excited = tl.load(small + S.padded_channels + channel)
    d_squeezed, d_pooled = squeeze_excite_bwd(
        d_excited, squeezed, squeeze, excite, S.padded_channels, S.squeezed_channels
    )
    tl.store(d_pooled_out + window.to(tl.int64) * S.channels + channel, d_pooled, mask=channel < S.channels)
    # The pool is a mean of energies: through it every key has the same gradient, one product of two vectors.
    d_rows += load_windows(d_x, window, batch, S) + pool[:, None] * d_pooled[None, :]
    store_windows(d_x, d_rows, window, batch, S)
    tl.store(small + channel, pooled)
    short = small + 2 * S.padded_channels
    store_vectors(short, squeezed, d_squeezed, S.squeezed_channels)

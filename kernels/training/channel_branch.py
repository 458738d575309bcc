"""The channel branch in training: a launch forward, and one backwards.

One window a program, of which a block of channels and of tokens is in registers at a time. As in the forward, a channel
is a column and nothing of x is transposed. Backwards named as in the maths of `ref.py`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import (
    dot,
    load_windows,
    sigmoid,
    store_windows,
    times_vector,
    vector,
    zeros,
)
from mixsynth_stream.kernels.training.pieces import block_of, keys_of, squeeze_excite_bwd, store_vectors


@triton.jit
def channel_dense(
    key_first: tl.tensor,
    row_first: tl.tensor,
    KEYS: tl.constexpr,
    matrices: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [KEYS, row block]
    key, row = key_first + tl.arange(0, KEYS), row_first + tl.arange(0, S.row_block)
    return tl.load(matrices + S.at.channel_dense + key[:, None] * S.rows + row[None, :])


@triton.jit
def channel_squeezed(
    x: tl.tensor,  # [B, T, C]
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Mean energies [channels] and what the gate makes of them [squeezed channels]."""
    pooled = tl.sum(load_windows(x, window, batch, S) * vector(vectors + S.at.channel_pool, S.rows)[:, None], 0)
    pooled += tl.load(vectors + S.at.channel_pool_bias)
    squeeze = matrices + S.at.channel_squeeze
    return pooled, tl.maximum(times_vector(squeeze, pooled, S.squeezed_channels, S.padded_channels), 0.0)


@triton.jit
def channel_columns(
    first: tl.tensor,  # channel
    squeezed: tl.tensor,  # [squeezed channels]
    x: tl.tensor,  # [B, T, C]
    window: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """A block of channels: each has its own gate [block], energies and attention [channel keys, block]."""
    excite = matrices + S.at.channel_excite + first * S.squeezed_channels
    gate = sigmoid(times_vector(excite, squeezed, S.channel_block, S.squeezed_channels))
    energies = zeros(S.padded_channel_keys, S.channel_block)
    for row_first in tl.range(0, tl.constexpr(S.rows), tl.constexpr(S.row_block), num_stages=1):
        place, here = block_of(row_first, first, window, S.channels, S.channel_block, S)
        energies += dot(
            channel_dense(0, row_first, S.padded_channel_keys, matrices, S), tl.load(x + place, mask=here, other=0.0), S
        )
    energies += vector(vectors + S.at.channel_dense_bias, S.padded_channel_keys)[:, None]
    key = tl.arange(0, S.padded_channel_keys)
    attention = tl.where((key < S.channel_keys)[:, None], energies * gate[None, :], -float("inf"))
    attention = tl.exp(attention - tl.max(attention, 0)[None, :])
    return gate, energies, attention / tl.sum(attention, 0)[None, :]


@triton.jit(do_not_specialize=["batch"])
def channel_branch_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    values: tl.tensor,  # [B, T, n], x itself where channels are not reduced
    channel_out: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    window = tl.program_id(0)
    _pooled, squeezed = channel_squeezed(x, window, batch, matrices, vectors, S)
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        _gate, _energies, attention = channel_columns(first, squeezed, x, window, matrices, vectors, S)
        for row_first in tl.range(0, tl.constexpr(S.rows), tl.constexpr(S.row_block), num_stages=1):
            place, here = block_of(row_first, 0, window, S.channel_keys, S.padded_channel_keys, S)
            given = dot(tl.load(values + place, mask=here, other=0.0), attention, S)
            place, here = block_of(row_first, first, window, S.channels, S.channel_block, S)
            tl.store(channel_out + place, given, mask=here)


@triton.jit
def d_given_block(
    row_first: tl.tensor,
    first: tl.tensor,  # channel
    d_out: tl.tensor,  # [B, T, C]
    d_mean: tl.tensor,  # [B, T]
    window: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [row block, channel block], zero where padded
    """`d_given_columns` of some rows."""
    place, here = block_of(row_first, first, window, S.channels, S.channel_block, S)
    row, there = block_of(row_first, 0, window, 1, 1, S)
    d_given = tl.load(d_out + place, mask=here, other=0.0) + tl.load(d_mean + row, mask=there, other=0.0)
    return tl.where(here, d_given, 0.0)


@triton.jit
def channel_columns_bwd(
    first: tl.tensor,  # channel
    squeezed: tl.tensor,  # [squeezed channels]
    x: tl.tensor,  # [B, T, C]
    values: tl.tensor,  # [B, T, n]
    d_channel_out: tl.tensor,  # [B, T, C]
    d_mean: tl.tensor,  # [B, T]
    d_x: tl.tensor,  # [B, T, C], what came through the energies is added
    d_values: tl.tensor,  # [B, T, n], this block's part is added
    d_energies_out: tl.tensor,  # [n, B, C]
    d_excited_out: tl.tensor,  # [padded channels] of this window
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> None:
    """A block of channels, of which tokens come in blocks, too."""
    gate, energies, attention = channel_columns(first, squeezed, x, window, matrices, vectors, S)
    d_attention = zeros(S.padded_channel_keys, S.channel_block)
    for row_first in tl.range(0, tl.constexpr(S.rows), tl.constexpr(S.row_block), num_stages=1):
        place, here = block_of(row_first, 0, window, S.channel_keys, S.padded_channel_keys, S)
        value = tl.load(values + place, mask=here, other=0.0)
        d_attention += dot(tl.trans(value), d_given_block(row_first, first, d_channel_out, d_mean, window, S), S)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 0)[None, :])
    channel = first + tl.arange(0, S.channel_block)
    tl.store(d_excited_out + channel, tl.sum(d_gated * energies, 0) * gate * (1.0 - gate))
    d_energies = d_gated * gate[None, :]
    key_place, key_here = keys_of(0, first, window, batch, S.channel_keys, S.padded_channel_keys, S.channel_block, S)
    tl.store(d_energies_out + key_place, d_energies, mask=key_here)
    # What is read back here was stored by other threads.
    tl.debug_barrier()
    for row_first in tl.range(0, tl.constexpr(S.rows), tl.constexpr(S.row_block), num_stages=1):
        place, here = block_of(row_first, first, window, S.channels, S.channel_block, S)
        d_rows = tl.load(d_x + place, mask=here, other=0.0)
        for key_first in tl.range(0, tl.constexpr(S.padded_channel_keys), tl.constexpr(S.key_block), num_stages=1):
            part, part_here = keys_of(key_first, first, window, batch, S.channel_keys, S.key_block, S.channel_block, S)
            block = tl.load(d_energies_out + part, mask=part_here, other=0.0)
            d_rows += dot(tl.trans(channel_dense(key_first, row_first, S.key_block, matrices, S)), block, S)
        tl.store(d_x + place, d_rows, mask=here)
    # The values may be x, so that other threads add to the same numbers: before, and in the next block.
    tl.debug_barrier()
    for row_first in tl.range(0, tl.constexpr(S.rows), tl.constexpr(S.row_block), num_stages=1):
        place, here = block_of(row_first, 0, window, S.channel_keys, S.padded_channel_keys, S)
        d_value = tl.load(d_values + place, mask=here, other=0.0)
        d_given = d_given_block(row_first, first, d_channel_out, d_mean, window, S)
        tl.store(d_values + place, d_value + dot(d_given, tl.trans(attention), S), mask=here)
    tl.debug_barrier()


@triton.jit(do_not_specialize=["batch"])
def channel_branch_bwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    values: tl.tensor,  # [B, T, n], x itself where channels are not reduced
    d_channel_out: tl.tensor,  # [B, T, C] float32
    d_mean: tl.tensor,  # [B, T] float32
    d_x: tl.tensor,  # [B, T, C] float32: the other parts of the gradient of x go in, and this branch's is added
    d_values: tl.tensor,  # [B, T, n] float32, likewise; d_x itself where channels are not reduced
    d_energies_out: tl.tensor,  # [n, B, C] operands, without what comes from the pool: out, as are those below
    d_pooled_out: tl.tensor,  # [B, C] float32
    small: tl.tensor,  # [B, 2 * channels + 2 * squeezed] float32, see `encoder_layer.py`
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    window = tl.program_id(0)
    small += window.to(tl.int64) * 2 * (S.padded_channels + S.squeezed_channels)
    channel, d_excited_out = tl.arange(0, S.padded_channels), small + S.padded_channels
    pooled, squeezed = channel_squeezed(x, window, batch, matrices, vectors, S)
    tl.store(small + channel, pooled)
    for first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        channel_columns_bwd(
            first, squeezed, x, values, d_channel_out, d_mean, d_x, d_values, d_energies_out, d_excited_out, window,
            batch, matrices, vectors, S,
        )  # fmt: skip
    squeeze, excite = matrices + S.at.channel_squeeze, matrices + S.at.channel_excite
    d_squeezed, d_pooled = squeeze_excite_bwd(
        tl.load(d_excited_out + channel), squeezed, squeeze, excite, S.padded_channels, S.squeezed_channels
    )
    tl.store(d_pooled_out + window.to(tl.int64) * S.channels + channel, d_pooled, mask=channel < S.channels)
    # The pool is a mean of energies: through it every key has the same gradient, one product of two vectors.
    through_pool = vector(vectors + S.at.channel_pool, S.rows)[:, None] * d_pooled[None, :]
    store_windows(d_x, load_windows(d_x, window, batch, S) + through_pool, window, batch, S)
    store_vectors(small + 2 * S.padded_channels, squeezed, d_squeezed, S.squeezed_channels)

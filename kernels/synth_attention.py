"""Synth attention: the two branches of mixed synthetic attention (Section 3.2): dense, gate, softmax, values.

It works on x [rows, channels] of a group of windows, in registers. Energies and attention never leave the program, and
nothing is transposed: the channel branch, which the paper writes on the transposed x, has one column a channel, and its
softmax runs down the columns. `tile` is a `Tile`; its `at` says where each packed weight starts.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.arguments import Float32, Operands
from mixsynth_stream.kernels.pieces import dot, load_windows, matrix, squeeze_excite, store_windows, vector, zeros


@triton.jit
def token_attention(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, token keys]
    """softmax(gate * dense(x)) of each row over the keys of its own window."""
    # The gate takes the mean of dense(x), which needs no dense(x): it is x times the mean of dense's rows.
    pooled = tl.sum(x * vector(vectors + tile.at.token_pool, tile.padded_channels)[None, :], 1)
    pooled += tl.load(vectors + tile.at.token_pool_bias)
    gate = squeeze_excite(
        pooled, matrices + tile.at.token_squeeze, matrices + tile.at.token_excite, tile.rows, tile.squeezed_tokens
    )
    dense = matrix(matrices + tile.at.token_dense, tile.padded_channels, tile.padded_token_keys)
    energies = dot(x, dense, tile)
    energies += vector(vectors + tile.at.token_dense_bias, tile.padded_token_keys)[None, :]
    energies *= gate[:, None]
    key = tl.arange(0, tile.padded_token_keys)[None, :]
    own = (key % tile.token_key_slot) < tile.token_keys
    # Behind the keys of the first window are those of other windows, or padding.
    if tile.padded_token_keys != tile.token_key_slot:
        own = own & (key // tile.token_key_slot == tl.arange(0, tile.rows)[:, None] // tile.token_slot)
    energies = tl.where(own, energies, -float("inf"))
    attention = tl.exp(energies - tl.max(energies, 1)[:, None])
    return attention / tl.sum(attention, 1)[:, None]


@triton.jit
def token_values(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [token keys, channels]
    """x, or value_reduce of x along time."""
    if tile.reduces_tokens:
        reduce = matrix(matrices + tile.at.token_value, tile.padded_token_keys, tile.rows)
        values = dot(reduce, x, tile)
        return values + vector(vectors + tile.at.token_value_bias, tile.padded_token_keys)[:, None]
    else:
        return x


@triton.jit
def channel_attention(
    x: tl.tensor,  # [rows, channels] of one window; zero elsewhere
    dense: tl.tensor,  # [channel keys, rows]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [channel keys, channels]
    """softmax(gate * dense(x^T)) of each channel, transposed: softmax runs down the columns."""
    # As in the token branch, the mean of the energies is computed without the energies.
    pooled = tl.sum(x * vector(vectors + tile.at.channel_pool, tile.rows)[:, None], 0)
    pooled += tl.load(vectors + tile.at.channel_pool_bias)
    gate = squeeze_excite(
        pooled,
        matrices + tile.at.channel_squeeze,
        matrices + tile.at.channel_excite,
        tile.padded_channels,
        tile.squeezed_channels,
    )
    energies = dot(dense, x, tile)
    energies += vector(vectors + tile.at.channel_dense_bias, tile.padded_channel_keys)[:, None]
    energies *= gate[None, :]
    if tile.channel_keys != tile.padded_channel_keys:
        key = tl.arange(0, tile.padded_channel_keys)[:, None]
        energies = tl.where(key < tile.channel_keys, energies, -float("inf"))
    attention = tl.exp(energies - tl.max(energies, 0)[None, :])
    return attention / tl.sum(attention, 0)[None, :]


@triton.jit
def channel_values(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channel keys]
    """x, or value_reduce of x along channels."""
    if tile.reduces_channels:
        reduce = matrix(matrices + tile.at.channel_value, tile.padded_channels, tile.padded_channel_keys)
        values = dot(x, reduce, tile)
        return values + vector(vectors + tile.at.channel_value_bias, tile.padded_channel_keys)[None, :]
    else:
        return x


@triton.jit
def channel_branch(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """The channel branch, one window at a time: each has its own attention, and the others' rows count as zero."""
    dense = matrix(matrices + tile.at.channel_dense, tile.padded_channel_keys, tile.rows)
    values = channel_values(x, matrices, vectors, tile)
    if tile.windows == 1:
        return dot(values, channel_attention(x, dense, matrices, vectors, tile), tile)
    else:
        out = zeros(tile.rows, tile.padded_channels)
        slot = tl.arange(0, tile.rows)[:, None] // tile.token_slot
        for window in tl.range(0, tl.constexpr(tile.windows), num_stages=1):
            attention = channel_attention(tl.where(slot == window, x, 0.0), dense, matrices, vectors, tile)
            out += dot(tl.where(slot == window, values, 0.0), attention, tile)
        return out


@triton.jit
def synth_attention_fwd_kernel(
    x: Float32,  # [B, T, C]
    token_out: Float32,  # [B, T, C]
    channel_out: Float32,  # [B, T, C]
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    tile: tl.constexpr,  # Tile
) -> None:
    """Both branches of a group of windows."""
    group = tl.program_id(0)
    rows = load_windows(x, group, batch, tile)
    store_windows(channel_out, channel_branch(rows, matrices, vectors, tile), group, batch, tile)
    attention = token_attention(rows, matrices, vectors, tile)
    t = dot(attention, token_values(rows, matrices, vectors, tile), tile)
    store_windows(token_out, t, group, batch, tile)

"""The two branches of mixed synthetic attention (Section 3.2): dense, squeeze-excite gate, softmax, values.

Works on x [rows, channels] of a group of windows, in registers. No energies and no attention leave the program, and
nothing is transposed: the channel branch, which the paper writes on the transposed x, has one column a channel, and
its softmax runs down the columns. S is a `Tile`; its `at` says where each packed weight lies.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import dot, load_windows, matrix, squeeze_excite, store_windows, vector, zeros


@triton.jit
def token_attention(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, token keys]
    """softmax(gate * dense(x)) of each row over the keys of its own window."""
    # What squeeze-excite takes, the mean of dense(x), without dense(x): x times the mean of dense's rows.
    pooled = tl.sum(x * vector(vectors + S.at.token_pool, S.padded_channels)[None, :], 1)
    pooled += tl.load(vectors + S.at.token_pool_bias)
    gate = squeeze_excite(
        pooled, matrices + S.at.token_squeeze, matrices + S.at.token_excite, S.rows, S.squeezed_tokens
    )
    dense = matrix(matrices + S.at.token_dense, S.padded_channels, S.padded_token_keys)
    energies = dot(x, dense, S) + vector(vectors + S.at.token_dense_bias, S.padded_token_keys)[None, :]
    energies *= gate[:, None]
    key = tl.arange(0, S.padded_token_keys)[None, :]
    own = (key % S.token_key_slot) < S.token_keys
    # Behind the keys of the first window are those of others, or padding.
    if S.padded_token_keys != S.token_key_slot:
        own = own & (key // S.token_key_slot == tl.arange(0, S.rows)[:, None] // S.token_slot)
    energies = tl.where(own, energies, -float("inf"))
    attention = tl.exp(energies - tl.max(energies, 1)[:, None])
    return attention / tl.sum(attention, 1)[:, None]


@triton.jit
def token_values(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [token keys, channels]
    """x, or value_reduce of x along time."""
    if S.reduces_tokens:
        reduce = matrix(matrices + S.at.token_value, S.padded_token_keys, S.rows)
        return dot(reduce, x, S) + vector(vectors + S.at.token_value_bias, S.padded_token_keys)[:, None]
    else:
        return x


@triton.jit
def channel_attention(
    x: tl.tensor,  # [rows, channels] of one window; zero elsewhere
    dense: tl.tensor,  # [channel keys, rows]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [channel keys, channels]
    """softmax(gate * dense(x^T)) of each channel, transposed: softmax runs down the columns."""
    # As in the token branch: the mean of the energies, before there are any.
    pooled = tl.sum(x * vector(vectors + S.at.channel_pool, S.rows)[:, None], 0)
    pooled += tl.load(vectors + S.at.channel_pool_bias)
    gate = squeeze_excite(
        pooled,
        matrices + S.at.channel_squeeze,
        matrices + S.at.channel_excite,
        S.padded_channels,
        S.squeezed_channels,
    )
    energies = dot(dense, x, S) + vector(vectors + S.at.channel_dense_bias, S.padded_channel_keys)[:, None]
    energies *= gate[None, :]
    if S.channel_keys != S.padded_channel_keys:
        key = tl.arange(0, S.padded_channel_keys)[:, None]
        energies = tl.where(key < S.channel_keys, energies, -float("inf"))
    attention = tl.exp(energies - tl.max(energies, 0)[None, :])
    return attention / tl.sum(attention, 0)[None, :]


@triton.jit
def channel_values(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channel keys]
    """x, or value_reduce of x along channels."""
    if S.reduces_channels:
        reduce = matrix(matrices + S.at.channel_value, S.padded_channels, S.padded_channel_keys)
        return dot(x, reduce, S) + vector(vectors + S.at.channel_value_bias, S.padded_channel_keys)[None, :]
    else:
        return x


@triton.jit
def channel_branch(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """Window by window, because each has its own attention; the rows of the others are zero meanwhile."""
    dense = matrix(matrices + S.at.channel_dense, S.padded_channel_keys, S.rows)
    values = channel_values(x, matrices, vectors, S)
    if S.windows == 1:
        return dot(values, channel_attention(x, dense, matrices, vectors, S), S)
    else:
        out = zeros(S.rows, S.padded_channels)
        slot = tl.arange(0, S.rows)[:, None] // S.token_slot
        for window in tl.range(0, tl.constexpr(S.windows), num_stages=1):
            attention = channel_attention(tl.where(slot == window, x, 0.0), dense, matrices, vectors, S)
            out += dot(tl.where(slot == window, values, 0.0), attention, S)
        return out


@triton.jit
def synth_attention_fwd_kernel(
    x: tl.tensor,  # [B, T, C] float32
    token_out: tl.tensor,  # [B, T, C] float32
    channel_out: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    S: tl.constexpr,  # Tile
) -> None:
    """What the tokens and what the channels of a group of windows synthesise."""
    group = tl.program_id(0)
    rows = load_windows(x, group, batch, S)
    store_windows(channel_out, channel_branch(rows, matrices, vectors, S), group, batch, S)
    attention = token_attention(rows, matrices, vectors, S)
    store_windows(token_out, dot(attention, token_values(rows, matrices, vectors, S), S), group, batch, S)

"""The feed-forward in training, with dropout, between the two LayerNorms of a layer; and backwards.

Tokens do not meet here, so a program takes a block of them, wherever windows end: `batch` counts tokens.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import (
    dot,
    gelu,
    load_windows,
    load_windows_again,
    normed,
    store_windows,
    vector,
    zeros,
)
from mixsynth_stream.kernels.training.dropout import factors
from mixsynth_stream.kernels.training.pieces import gelu_slope, load_columns, norm_bwd, store_columns


@triton.jit
def wide_dot(
    left: tl.tensor,  # [B, T, C]
    right: tl.tensor,
    first: tl.tensor,  # hidden number
    channel_stride: tl.constexpr,  # in `right`
    number_stride: tl.constexpr,
    group: tl.tensor,
    batch: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, hidden block]
    """Rows in memory times a packed matrix, a block of channels at a time."""
    number = first + tl.arange(0, S.hidden_block)
    out = zeros(S.rows, S.hidden_block)
    for channel_first in tl.range(0, tl.constexpr(S.padded_channels), tl.constexpr(S.channel_block), num_stages=1):
        channel = channel_first + tl.arange(0, S.channel_block)
        part = load_columns(left, channel_first, group, batch, S.channels, S.channel_block, S)
        out += dot(part, tl.load(right + channel[:, None] * channel_stride + number[None, :] * number_stride), S)
    return out


@triton.jit
def hidden_block(
    y: tl.tensor,  # [rows, channels], or where S.wide [B, T, C]
    first: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """What GELU takes [rows, block], and the block's parts of both matrices: [channels, block], [block, channels]."""
    channel = tl.arange(0, S.padded_channels)
    number = first + tl.arange(0, S.hidden_block)
    fc1 = tl.load(matrices + S.at.fc1 + channel[:, None] * S.padded_hidden + number[None, :])
    fc2 = tl.load(matrices + S.at.fc2 + number[:, None] * S.padded_channels + channel[None, :])
    if S.wide:
        before = wide_dot(y, matrices + S.at.fc1, first, S.padded_hidden, 1, group, batch, S)
    else:
        before = dot(y, fc1, S)
    return before + tl.load(vectors + S.at.fc1_bias + number)[None, :], fc1, fc2


@triton.jit
def dropped_feed_forward(
    y: tl.tensor,  # [rows, channels]
    again: tl.tensor,  # [B, T, C], where y is stored to be read back
    matrices: tl.tensor,
    vectors: tl.tensor,
    kept_hidden: tl.tensor,
    kept_out: tl.tensor,
    share: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    S: tl.constexpr,
    DROPS: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    out = zeros(S.rows, S.padded_channels)
    if S.wide:
        store_windows(again, y, group, batch, S)
        # What is read back here was stored by other threads.
        tl.debug_barrier()
    for first in tl.range(0, tl.constexpr(S.padded_hidden), tl.constexpr(S.hidden_block), num_stages=1):
        before, _, fc2 = hidden_block(again if S.wide else y, first, matrices, vectors, group, batch, S)
        hidden = gelu(before)
        if DROPS:
            hidden *= factors(kept_hidden, share, group, batch, first, S.hidden, S.hidden_block, S)
        out += dot(hidden, fc2, S)
    if S.wide:
        # Others may still read what the caller writes over.
        tl.debug_barrier()
    out += vector(vectors + S.at.fc2_bias, S.padded_channels)[None, :]
    if DROPS:
        out *= factors(kept_out, share, group, batch, 0, S.channels, S.padded_channels, S)
    return out


@triton.jit(do_not_specialize=["batch"])
def feed_forward_train_fwd_kernel(
    summed: tl.tensor,  # [B, T, C] float32, before the first LayerNorm
    out: tl.tensor,  # [B, T, C] float32
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    kept_hidden: tl.tensor,  # [B, T, E] int8
    kept_out: tl.tensor,  # [B, T, C] int8
    share: float,
    batch: int,
    S: tl.constexpr,  # TokenRows
    DROPS: tl.constexpr,
) -> None:
    """norm2(y + dropped feed_forward(y)) with y = norm1(summed)."""
    group = tl.program_id(0)
    y = load_windows(summed, group, batch, S)
    y = normed(y, vectors + S.at.norm1_weight, vectors + S.at.norm1_bias, S)
    made = dropped_feed_forward(y, out, matrices, vectors, kept_hidden, kept_out, share, group, batch, S, DROPS)
    # Made again: kept in registers all the while, it would push others out.
    y = load_windows_again(summed, group, batch, S)
    y = made + normed(y, vectors + S.at.norm1_weight, vectors + S.at.norm1_bias, S)
    store_windows(out, normed(y, vectors + S.at.norm2_weight, vectors + S.at.norm2_bias, S), group, batch, S)


@triton.jit(do_not_specialize=["batch"])
def feed_forward_end_bwd_kernel(
    summed: tl.tensor,  # [B, T, C] float32
    d_out: tl.tensor,  # [B, T, C] float32
    d_end: tl.tensor,  # [B, T, C] float32: out, as are those below
    d_second: tl.tensor,  # [B, T, C] operands, of what the second Linear gave
    y_out: tl.tensor,  # [B, T, C] operands
    norms: tl.tensor,  # [programs, 4, padded channels] float32: the second half, d norm2's weight and bias
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    kept_hidden: tl.tensor,  # [B, T, E] int8
    kept_out: tl.tensor,  # [B, T, C] int8
    share: float,
    batch: int,
    S: tl.constexpr,  # TokenRows
    DROPS: tl.constexpr,
) -> None:
    """From the layer's end back to what the second LayerNorm took."""
    group = tl.program_id(0)
    y = load_windows(summed, group, batch, S)
    y = normed(y, vectors + S.at.norm1_weight, vectors + S.at.norm1_bias, S)
    store_windows(y_out, y, group, batch, S)
    made = dropped_feed_forward(y, y_out, matrices, vectors, kept_hidden, kept_out, share, group, batch, S, DROPS)
    y = load_windows_again(summed, group, batch, S)
    y = made + normed(y, vectors + S.at.norm1_weight, vectors + S.at.norm1_bias, S)
    partial = norms + (group.to(tl.int64) * 4 + 2) * S.padded_channels
    d_y = norm_bwd(y, vectors + S.at.norm2_weight, load_windows(d_out, group, batch, S), partial, S)
    store_windows(d_end, d_y, group, batch, S)
    if DROPS:
        d_y *= factors(kept_out, share, group, batch, 0, S.channels, S.padded_channels, S)
    store_windows(d_second, d_y, group, batch, S)


@triton.jit(do_not_specialize=["batch"])
def feed_forward_bwd_kernel(
    summed: tl.tensor,  # [B, T, C] float32
    d_end: tl.tensor,  # [B, T, C] float32
    d_second: tl.tensor,  # [B, T, C] operands
    y: tl.tensor,  # [B, T, C] operands
    d_summed: tl.tensor,  # [B, T, C] float32: out, as are those below
    d_proj: tl.tensor,  # [B, T, C] operands, of what the mixture's projection gave
    hidden_out: tl.tensor,  # [B, T, E] operands, after GELU and dropout
    d_before: tl.tensor,  # [B, T, E] operands, of what GELU took
    norms: tl.tensor,  # [programs, 4, padded channels] float32: the first half, d norm1's weight and bias
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    kept_hidden: tl.tensor,  # [B, T, E] int8
    kept_proj: tl.tensor,  # [B, T, C] int8
    share: float,
    batch: int,
    S: tl.constexpr,  # TokenRows
    DROPS: tl.constexpr,
) -> None:
    """From there back to what the first LayerNorm took."""
    group = tl.program_id(0)
    rows, d_made = y, d_second
    if not S.wide:
        rows, d_made = load_windows(y, group, batch, S), load_windows(d_second, group, batch, S)
    d_y = zeros(S.rows, S.padded_channels)
    for first in tl.range(0, tl.constexpr(S.padded_hidden), tl.constexpr(S.hidden_block), num_stages=1):
        before, fc1, fc2 = hidden_block(rows, first, matrices, vectors, group, batch, S)
        if S.wide:
            d_hidden = wide_dot(d_made, matrices + S.at.fc2, first, 1, S.padded_channels, group, batch, S)
        else:
            d_hidden = dot(d_made, tl.trans(fc2), S)
        hidden = gelu(before)
        d_hidden *= gelu_slope(before)
        if DROPS:
            factor = factors(kept_hidden, share, group, batch, first, S.hidden, S.hidden_block, S)
            hidden *= factor
            d_hidden *= factor
        store_columns(hidden_out, hidden, first, group, batch, S.hidden, S.hidden_block, S)
        store_columns(d_before, d_hidden, first, group, batch, S.hidden, S.hidden_block, S)
        d_y += dot(d_hidden, tl.trans(fc1), S)
    d_y += load_windows(d_end, group, batch, S)
    x = load_windows(summed, group, batch, S)
    partial = norms + group.to(tl.int64) * 4 * S.padded_channels
    d_x = norm_bwd(x, vectors + S.at.norm1_weight, d_y, partial, S)
    store_windows(d_summed, d_x, group, batch, S)
    if DROPS:
        d_x *= factors(kept_proj, share, group, batch, 0, S.channels, S.padded_channels, S)
    store_windows(d_proj, d_x, group, batch, S)

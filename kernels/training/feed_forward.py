"""Feed-forward in training, with dropout, between the two LayerNorms of a layer; and backwards.

Each token is computed by itself, so a program takes a block of tokens, wherever windows end, and `batch` counts tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.arguments import Float32, Int8, Operands
from mixsynth_stream.kernels.pieces import (
    dot,
    gelu,
    load_windows,
    load_windows_again,
    norm1,
    norm2,
    store_windows,
    vector,
    zeros,
)
from mixsynth_stream.kernels.training.dropout import KeepMasks, factors
from mixsynth_stream.kernels.training.library_products import linear_bwd
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.pieces import gelu_slope, load_channels, norm_bwd, store_columns
from mixsynth_stream.kernels.weights import FeedForwardWeights, NormWeights


@triton.jit
def wide_dot(
    left: tl.tensor,  # [B, T, C]
    right: tl.tensor,
    first: tl.tensor,  # hidden number
    channel_stride: tl.constexpr,  # in `right`
    number_stride: tl.constexpr,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, hidden block]
    """Rows in memory times a packed matrix, a block of channels at a time."""
    number = first + tl.arange(0, tile.hidden_block)
    out = zeros(tile.rows, tile.hidden_block)
    for start in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        channel = start + tl.arange(0, tile.channel_block)
        part = load_channels(left, start, group, batch, tile)
        weights = tl.load(right + channel[:, None] * channel_stride + number[None, :] * number_stride)
        out += dot(part, weights, tile)
    return out


@triton.jit
def hidden_block(
    y: tl.tensor,  # [rows, channels], or where tile.wide [B, T, C]
    first: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """What GELU takes [rows, block], and the block's parts of both matrices: [channels, block], [block, channels]."""
    channel = tl.arange(0, tile.padded_channels)
    number = first + tl.arange(0, tile.hidden_block)
    fc1 = tl.load(matrices + tile.at.fc1 + channel[:, None] * tile.padded_hidden + number[None, :])
    fc2 = tl.load(matrices + tile.at.fc2 + number[:, None] * tile.padded_channels + channel[None, :])
    if tile.wide:
        before = wide_dot(y, matrices + tile.at.fc1, first, tile.padded_hidden, 1, group, batch, tile)
    else:
        before = dot(y, fc1, tile)
    return before + tl.load(vectors + tile.at.fc1_bias + number)[None, :], fc1, fc2


@triton.jit
def dropped_feed_forward(
    y: tl.tensor,  # [rows, channels]
    scratch: tl.tensor,  # [B, T, C], where y is stored to be read back
    matrices: tl.tensor,
    vectors: tl.tensor,
    kept_hidden: tl.tensor,
    kept_out: tl.tensor,
    share: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
    DROPS: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """The feed-forward of y, with dropout after GELU and after the second Linear."""
    out = zeros(tile.rows, tile.padded_channels)
    if tile.wide:
        store_windows(scratch, y, group, batch, tile)
        # The loop reads back what other threads stored.
        tl.debug_barrier()
    for first in tl.range(0, tl.constexpr(tile.padded_hidden), tl.constexpr(tile.hidden_block), num_stages=1):
        before, _, fc2 = hidden_block(scratch if tile.wide else y, first, matrices, vectors, group, batch, tile)
        hidden = gelu(before)
        if DROPS:
            hidden *= factors(kept_hidden, share, group, batch, first, tile.hidden, tile.hidden_block, tile)
        out += dot(hidden, fc2, tile)
    if tile.wide:
        # Other threads may still read what the caller overwrites.
        tl.debug_barrier()
    out += vector(vectors + tile.at.fc2_bias, tile.padded_channels)[None, :]
    if DROPS:
        out *= factors(kept_out, share, group, batch, 0, tile.channels, tile.padded_channels, tile)
    return out


@triton.jit
def second_sum(
    summed: tl.tensor,  # [B, T, C]
    y_out: tl.tensor,  # [B, T, C], where y goes if KEEPS, and at least where the tile is wide
    matrices: tl.tensor,
    vectors: tl.tensor,
    kept_hidden: tl.tensor,
    kept_out: tl.tensor,
    share: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
    DROPS: tl.constexpr,
    KEEPS: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """What the second LayerNorm takes: y + dropped feed_forward(y) with y = norm1(summed)."""
    y = norm1(load_windows(summed, group, batch, tile), vectors, tile)
    if KEEPS:
        store_windows(y_out, y, group, batch, tile)
    out = dropped_feed_forward(y, y_out, matrices, vectors, kept_hidden, kept_out, share, group, batch, tile, DROPS)
    # y is made again: to keep it in registers all the while would push other values out.
    return out + norm1(load_windows_again(summed, group, batch, tile), vectors, tile)


@triton.jit(do_not_specialize=["batch"])
def feed_forward_train_fwd_kernel(
    summed: Float32,  # [B, T, C], before the first LayerNorm
    out: Float32,  # [B, T, C]
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    kept_hidden: Int8,  # [B, T, E]
    kept_out: Int8,  # [B, T, C]
    share: float,
    batch: int,
    tile: tl.constexpr,  # TokenTile
    DROPS: tl.constexpr,
) -> None:
    """norm2(y + dropped feed_forward(y)) with y = norm1(summed)."""
    group = tl.program_id(0)
    y = second_sum(summed, out, matrices, vectors, kept_hidden, kept_out, share, group, batch, tile, DROPS, False)
    store_windows(out, norm2(y, vectors, tile), group, batch, tile)


@triton.jit(do_not_specialize=["batch"])
def feed_forward_end_bwd_kernel(
    summed: Float32,  # [B, T, C]
    d_out: Float32,  # [B, T, C]
    d_end: Float32,  # [B, T, C]: out, as are those below
    d_second: Operands,  # [B, T, C], of what the second Linear gave
    y_out: Operands,  # [B, T, C]
    norms: Float32,  # [programs, 4, padded channels]: the second half, d norm2's weight and bias
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    kept_hidden: Int8,  # [B, T, E]
    kept_out: Int8,  # [B, T, C]
    share: float,
    batch: int,
    tile: tl.constexpr,  # TokenTile
    DROPS: tl.constexpr,
) -> None:
    """From the gradient of the layer's output to that of what the second LayerNorm took."""
    group = tl.program_id(0)
    y = second_sum(summed, y_out, matrices, vectors, kept_hidden, kept_out, share, group, batch, tile, DROPS, True)
    partial = norms + (group.to(tl.int64) * 4 + 2) * tile.padded_channels
    d_y = norm_bwd(y, vectors + tile.at.norm2_weight, load_windows(d_out, group, batch, tile), partial, tile)
    store_windows(d_end, d_y, group, batch, tile)
    if DROPS:
        d_y *= factors(kept_out, share, group, batch, 0, tile.channels, tile.padded_channels, tile)
    store_windows(d_second, d_y, group, batch, tile)


@triton.jit(do_not_specialize=["batch"])
def feed_forward_bwd_kernel(
    summed: Float32,  # [B, T, C]
    d_end: Float32,  # [B, T, C]
    d_second: Operands,  # [B, T, C]
    y: Operands,  # [B, T, C]
    d_summed: Float32,  # [B, T, C]: out, as are those below
    d_proj: Operands,  # [B, T, C], of what the mixture's projection gave
    hidden_out: Operands,  # [B, T, E], after GELU and dropout
    d_before: Operands,  # [B, T, E], of what GELU took
    norms: Float32,  # [programs, 4, padded channels]: the first half, d norm1's weight and bias
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    kept_hidden: Int8,  # [B, T, E]
    kept_proj: Int8,  # [B, T, C]
    share: float,
    batch: int,
    tile: tl.constexpr,  # TokenTile
    DROPS: tl.constexpr,
) -> None:
    """From the gradient of what the second LayerNorm took to that of what the first one took."""
    group = tl.program_id(0)
    rows, d_rows = y, d_second
    if not tile.wide:
        rows, d_rows = load_windows(y, group, batch, tile), load_windows(d_second, group, batch, tile)
    d_y = zeros(tile.rows, tile.padded_channels)
    for first in tl.range(0, tl.constexpr(tile.padded_hidden), tl.constexpr(tile.hidden_block), num_stages=1):
        before, fc1, fc2 = hidden_block(rows, first, matrices, vectors, group, batch, tile)
        if tile.wide:
            d_hidden = wide_dot(d_rows, matrices + tile.at.fc2, first, 1, tile.padded_channels, group, batch, tile)
        else:
            d_hidden = dot(d_rows, tl.trans(fc2), tile)
        hidden = gelu(before)
        d_hidden *= gelu_slope(before)
        if DROPS:
            factor = factors(kept_hidden, share, group, batch, first, tile.hidden, tile.hidden_block, tile)
            hidden *= factor
            d_hidden *= factor
        store_columns(hidden_out, hidden, first, group, batch, tile.hidden, tile.hidden_block, tile)
        store_columns(d_before, d_hidden, first, group, batch, tile.hidden, tile.hidden_block, tile)
        d_y += dot(d_hidden, tl.trans(fc1), tile)
    d_y += load_windows(d_end, group, batch, tile)
    x = load_windows(summed, group, batch, tile)
    partial = norms + group.to(tl.int64) * 4 * tile.padded_channels
    d_x = norm_bwd(x, vectors + tile.at.norm1_weight, d_y, partial, tile)
    store_windows(d_summed, d_x, group, batch, tile)
    if DROPS:
        d_x *= factors(kept_proj, share, group, batch, 0, tile.channels, tile.padded_channels, tile)
    store_windows(d_proj, d_x, group, batch, tile)


KERNELS = (feed_forward_train_fwd_kernel, feed_forward_end_bwd_kernel, feed_forward_bwd_kernel)


class FeedForwardGradients(NamedTuple):
    """Gradients of what the first LayerNorm took, of what the mixture's projection gave, and of the weights."""

    d_summed: Tensor  # [B, T, C]
    d_proj: Tensor  # [B, T, C] operands
    norm1: NormWeights
    weights: FeedForwardWeights


def feed_forward(
    layer: PackedLayer,
    summed: Tensor,  # [B, T, C], x + mixture
    masks: KeepMasks,
) -> Tensor:  # [B, T, C]
    """norm2(y + dropped feed_forward(y)) with y = norm1(summed)."""
    out = torch.empty_like(summed)
    dropout = masks.hidden, masks.out, masks.share
    layer.launch_tokens(feed_forward_train_fwd_kernel, summed, out, *layer.packed, *dropout, DROPS=masks.drops)
    return out


def feed_forward_bwd(
    layer: PackedLayer,
    summed: Tensor,  # [B, T, C]
    d_out: Tensor,  # [B, T, C]
    masks: KeepMasks,
) -> FeedForwardGradients:
    """The gradients that follow from `d_out`, that of the layer's output."""
    tile = layer.tile
    d_end, d_summed = torch.empty_like(summed), torch.empty_like(summed)
    y, d_second, d_proj = (layer.new_rows(summed, tile.channels) for _ in range(3))
    hidden, d_before = (layer.new_rows(summed, tile.hidden) for _ in range(2))
    norms = summed.new_empty(layer.token_programs(len(summed)), 4, tile.padded_channels)
    # First down to the second LayerNorm, then to the first.
    outputs, dropout = (d_end, d_second, y, norms), (masks.hidden, masks.out, masks.share)
    layer.launch_tokens(
        feed_forward_end_bwd_kernel, summed, d_out, *outputs, *layer.packed, *dropout, DROPS=masks.drops
    )
    inputs, dropout = (summed, d_end, d_second, y), (masks.hidden, masks.proj, masks.share)
    results = d_summed, d_proj, hidden, d_before, norms
    layer.launch_tokens(feed_forward_bwd_kernel, *inputs, *results, *layer.packed, *dropout, DROPS=masks.drops)
    # Copies, because outputs of an op of torch must not share memory.
    halves = norms[..., : tile.channels].split(2, dim=1)
    first, second = (NormWeights(*map(torch.clone, half.sum(0))) for half in halves)
    weights = FeedForwardWeights(*linear_bwd(y, d_before), *linear_bwd(hidden, d_second), second)
    return FeedForwardGradients(d_summed, d_proj, first, weights)

"""Channel branch in training: one launch forward, and one backwards.

Each program takes one window, of which it holds a block of channels and of tokens at a time. As in the forward, a
channel is a column and x is never transposed. Gradients are named as in the maths of `ref.py`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.arguments import Float32, Operands, OperandsOrX
from mixsynth_stream.kernels.pieces import dot, load_windows, sigmoid, store_windows, times_vector, vector, zeros
from mixsynth_stream.kernels.training.library_products import (
    OperandX,
    gate_weights_bwd,
    linear_bwd,
    linear_bwd_by_keys,
)
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.pieces import place_keys, place_tokens, squeeze_excite_bwd, store_vectors
from mixsynth_stream.kernels.weights import SynthAttentionWeights


@triton.jit
def channel_dense(
    key_first: tl.tensor,
    row_first: tl.tensor,
    KEYS: tl.constexpr,
    matrices: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [KEYS, row block]
    key, row = key_first + tl.arange(0, KEYS), row_first + tl.arange(0, tile.row_block)
    return tl.load(matrices + tile.at.channel_dense + key[:, None] * tile.rows + row[None, :])


@triton.jit
def channel_squeezed(
    x: tl.tensor,  # [B, T, C]
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Mean energies [channels], and what the gate's first matrix makes of them [squeezed channels]."""
    rows = load_windows(x, window, batch, tile)
    pooled = tl.sum(rows * vector(vectors + tile.at.channel_pool, tile.rows)[:, None], 0)
    pooled += tl.load(vectors + tile.at.channel_pool_bias)
    squeeze = matrices + tile.at.channel_squeeze
    return pooled, tl.maximum(times_vector(squeeze, pooled, tile.squeezed_channels, tile.padded_channels), 0.0)


@triton.jit
def channel_columns(
    first: tl.tensor,  # channel
    squeezed: tl.tensor,  # [squeezed channels]
    x: tl.tensor,  # [B, T, C]
    window: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """A block of channels: the gate of each [block], energies and attention [channel keys, block]."""
    excite = matrices + tile.at.channel_excite + first * tile.squeezed_channels
    gate = sigmoid(times_vector(excite, squeezed, tile.channel_block, tile.squeezed_channels))
    energies = zeros(tile.padded_channel_keys, tile.channel_block)
    for row_first in tl.range(0, tl.constexpr(tile.rows), tl.constexpr(tile.row_block), num_stages=1):
        place, real = place_tokens(row_first, first, window, tile.channels, tile.channel_block, tile)
        dense = channel_dense(0, row_first, tile.padded_channel_keys, matrices, tile)
        energies += dot(dense, tl.load(x + place, mask=real, other=0.0), tile)
    energies += vector(vectors + tile.at.channel_dense_bias, tile.padded_channel_keys)[:, None]
    key = tl.arange(0, tile.padded_channel_keys)
    attention = tl.where((key < tile.channel_keys)[:, None], energies * gate[None, :], -float("inf"))
    attention = tl.exp(attention - tl.max(attention, 0)[None, :])
    return gate, energies, attention / tl.sum(attention, 0)[None, :]


@triton.jit(do_not_specialize=["batch"])
def channel_branch_fwd_kernel(
    x: Float32,  # [B, T, C]
    values: OperandsOrX,  # [B, T, n]
    channel_out: Float32,  # [B, T, C]
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    tile: tl.constexpr,  # TrainingTile
) -> None:
    """The channel branch of a window."""
    window = tl.program_id(0)
    _pooled, squeezed = channel_squeezed(x, window, batch, matrices, vectors, tile)
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        _gate, _energies, attention = channel_columns(first, squeezed, x, window, matrices, vectors, tile)
        for row_first in tl.range(0, tl.constexpr(tile.rows), tl.constexpr(tile.row_block), num_stages=1):
            place, real = place_tokens(row_first, 0, window, tile.channel_keys, tile.padded_channel_keys, tile)
            c = dot(tl.load(values + place, mask=real, other=0.0), attention, tile)
            place, real = place_tokens(row_first, first, window, tile.channels, tile.channel_block, tile)
            tl.store(channel_out + place, c, mask=real)


@triton.jit
def d_branch_block(
    row_first: tl.tensor,
    first: tl.tensor,  # channel
    d_out: tl.tensor,  # [B, T, C]
    d_mean: tl.tensor,  # [B, T]
    window: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [row block, channel block], zero where padded
    """The gradient of some rows of a branch, with what comes through the mixture's weights."""
    place, real = place_tokens(row_first, first, window, tile.channels, tile.channel_block, tile)
    row, real_row = place_tokens(row_first, 0, window, 1, 1, tile)
    d_branch = tl.load(d_out + place, mask=real, other=0.0) + tl.load(d_mean + row, mask=real_row, other=0.0)
    return tl.where(real, d_branch, 0.0)


@triton.jit
def channel_columns_bwd(
    first: tl.tensor,  # channel
    squeezed: tl.tensor,  # [squeezed channels]
    x: tl.tensor,  # [B, T, C]
    values: tl.tensor,  # [B, T, n]
    d_channel_out: tl.tensor,  # [B, T, C]
    d_mean: tl.tensor,  # [B, T]
    d_x: tl.tensor,  # [B, T, C], to which what came through the energies is added
    d_values: tl.tensor,  # [B, T, n], to which this block's part is added
    d_energies_out: tl.tensor,  # [n, B, C]
    d_excited_out: tl.tensor,  # [padded channels] of this window
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> None:
    """A block of channels. Its tokens come in blocks, too."""
    gate, energies, attention = channel_columns(first, squeezed, x, window, matrices, vectors, tile)
    d_attention = zeros(tile.padded_channel_keys, tile.channel_block)
    for row_first in tl.range(0, tl.constexpr(tile.rows), tl.constexpr(tile.row_block), num_stages=1):
        place, real = place_tokens(row_first, 0, window, tile.channel_keys, tile.padded_channel_keys, tile)
        value = tl.trans(tl.load(values + place, mask=real, other=0.0))
        d_branch = d_branch_block(row_first, first, d_channel_out, d_mean, window, tile)
        d_attention += dot(value, d_branch, tile)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 0)[None, :])
    channel = first + tl.arange(0, tile.channel_block)
    tl.store(d_excited_out + channel, tl.sum(d_gated * energies, 0) * gate * (1.0 - gate))
    d_energies = d_gated * gate[None, :]
    key_place, real_key = place_keys(0, first, window, batch, tile.channel_keys, tile.padded_channel_keys, tile)
    tl.store(d_energies_out + key_place, d_energies, mask=real_key)
    # The loop below reads back what other threads stored.
    tl.debug_barrier()
    keys, step = tl.constexpr(tile.padded_channel_keys), tl.constexpr(tile.key_block)
    for row_first in tl.range(0, tl.constexpr(tile.rows), tl.constexpr(tile.row_block), num_stages=1):
        place, real = place_tokens(row_first, first, window, tile.channels, tile.channel_block, tile)
        d_rows = tl.load(d_x + place, mask=real, other=0.0)
        for key_first in tl.range(0, keys, step, num_stages=1):
            part, real_part = place_keys(key_first, first, window, batch, tile.channel_keys, tile.key_block, tile)
            block = tl.load(d_energies_out + part, mask=real_part, other=0.0)
            dense = channel_dense(key_first, row_first, tile.key_block, matrices, tile)
            d_rows += dot(tl.trans(dense), block, tile)
        tl.store(d_x + place, d_rows, mask=real)
    # The values may be x. Then other threads add to the same numbers, before this loop and in the next block.
    tl.debug_barrier()
    for row_first in tl.range(0, tl.constexpr(tile.rows), tl.constexpr(tile.row_block), num_stages=1):
        place, real = place_tokens(row_first, 0, window, tile.channel_keys, tile.padded_channel_keys, tile)
        d_value = tl.load(d_values + place, mask=real, other=0.0)
        d_branch = d_branch_block(row_first, first, d_channel_out, d_mean, window, tile)
        tl.store(d_values + place, d_value + dot(d_branch, tl.trans(attention), tile), mask=real)
    tl.debug_barrier()


@triton.jit(do_not_specialize=["batch"])
def channel_branch_bwd_kernel(
    x: Float32,  # [B, T, C]
    values: OperandsOrX,  # [B, T, n]
    d_channel_out: Float32,  # [B, T, C]
    d_mean: Float32,  # [B, T]
    d_x: Float32,  # [B, T, C]: the other parts of the gradient of x go in, and this branch's is added
    d_values: Float32,  # [B, T, n], likewise; d_x itself where channels are not reduced
    d_energies_out: Operands,  # [n, B, C], without what comes from the pool: out, as are those below
    d_pooled_out: Float32,  # [B, C]
    gate_out: Float32,  # [B, 2 * channels + 2 * squeezed]: pooled, d_excited, squeezed, d_squeezed
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    tile: tl.constexpr,  # TrainingTile
) -> None:
    """From the gradient of the branch to those of x, energies and values."""
    window = tl.program_id(0)
    gate_out += window.to(tl.int64) * 2 * (tile.padded_channels + tile.squeezed_channels)
    channel, d_excited_out = tl.arange(0, tile.padded_channels), gate_out + tile.padded_channels
    pooled, squeezed = channel_squeezed(x, window, batch, matrices, vectors, tile)
    tl.store(gate_out + channel, pooled)
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        channel_columns_bwd(
            first,
            squeezed,
            x,
            values,
            d_channel_out,
            d_mean,
            d_x,
            d_values,
            d_energies_out,
            d_excited_out,
            window,
            batch,
            matrices,
            vectors,
            tile,
        )
    squeeze, excite = matrices + tile.at.channel_squeeze, matrices + tile.at.channel_excite
    d_squeezed, d_pooled = squeeze_excite_bwd(
        tl.load(d_excited_out + channel), squeezed, squeeze, excite, tile.padded_channels, tile.squeezed_channels
    )
    tl.store(d_pooled_out + window.to(tl.int64) * tile.channels + channel, d_pooled, mask=channel < tile.channels)
    # The pool is a mean of energies: through it every key has the same gradient, one product of two vectors.
    through_pool = vector(vectors + tile.at.channel_pool, tile.rows)[:, None] * d_pooled[None, :]
    store_windows(d_x, load_windows(d_x, window, batch, tile) + through_pool, window, batch, tile)
    store_vectors(gate_out + 2 * tile.padded_channels, squeezed, d_squeezed, tile.squeezed_channels)


KERNELS = (channel_branch_fwd_kernel, channel_branch_bwd_kernel)


def channel_values(
    layer: PackedLayer,
    x: Tensor,  # [B, T, C]
) -> Tensor:  # [B, T, n]
    """What the channels attend to: x itself or, where channels are reduced, operands that a library product makes."""
    tile = layer.tile
    if not tile.reduces_channels:
        return x
    bias = layer.vector("channel_value_bias", tile.channel_keys)
    return x.to(layer.operand) @ _value_matrix(layer) + bias.to(layer.operand)


def _value_matrix(layer: PackedLayer) -> Tensor:  # [C, n]
    return layer.matrix("channel_value", layer.tile.channels, layer.tile.channel_keys)


def channel_branch(
    layer: PackedLayer,
    x: Tensor,  # [B, T, C]
    values: Tensor,  # [B, T, n]
) -> Tensor:  # [B, T, C]
    """The channel branch of every window."""
    c = torch.empty_like(x)
    layer.launch(channel_branch_fwd_kernel, x, values, c, *layer.packed)
    return c


def channel_branch_bwd(
    layer: PackedLayer,
    x: Tensor,  # [B, T, C]
    operand_x: OperandX,
    values: Tensor,  # [B, T, n]
    d_c: Tensor,  # [B, T, C], without what comes through the mixture's weights
    d_mean: Tensor,  # [B, T], what comes through them
    d_x: Tensor,  # [B, T, C], to which this branch's part is added
) -> SynthAttentionWeights:
    """Gradients of the branch's weights."""
    tile, (rows, by_time) = layer.tile, operand_x
    gate = x.new_empty(len(x), 2 * (tile.padded_channels + tile.squeezed_channels))
    d_values = torch.zeros_like(values, dtype=torch.float32) if tile.reduces_channels else d_x
    d_energies, d_pooled = layer.new_keys(x, tile.channel_keys), x.new_empty(len(x), tile.channels)
    outputs = d_x, d_values, d_energies, d_pooled, gate
    layer.launch(channel_branch_bwd_kernel, x, values, d_c, d_mean, *outputs, *layer.packed)
    gates = gate_weights_bwd(gate, tile.padded_channels, tile.channels)
    dense_weight, dense_bias = linear_bwd_by_keys(d_energies, by_time)
    dense_weight = dense_weight + (by_time @ d_pooled.to(by_time.dtype).flatten()) / tile.channel_keys
    dense_bias = dense_bias + d_pooled.sum() / tile.channel_keys
    if not tile.reduces_channels:
        return SynthAttentionWeights(dense_weight, dense_bias, *gates, *linear_bwd(rows, layer.new_rows(x, 0)))
    d_values = d_values.to(rows.dtype)
    d_x += d_values @ _value_matrix(layer).T
    return SynthAttentionWeights(dense_weight, dense_bias, *gates, *linear_bwd(rows, d_values))

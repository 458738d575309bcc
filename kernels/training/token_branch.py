"""Token branch in training, with the weights of the mixture: one launch forward, and one backwards.

Each program takes one window, of which it holds a block of channels at a time. Gradients are named as in the maths of
`ref.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.arguments import Float32, Operands
from mixsynth_stream.kernels.pieces import dot, gelu, line, matrix, sigmoid, times_vector, vector, zeros
from mixsynth_stream.kernels.training.library_products import (
    OperandX,
    gate_weights_bwd,
    linear_bwd,
    linear_bwd_by_keys,
    reweight_weights_bwd,
)
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.pieces import (
    gelu_slope,
    load_channels,
    load_tokens,
    place_keys,
    place_tokens,
    squeeze_excite_bwd,
    store_channels,
    store_columns,
    store_tokens,
    store_vectors,
    vector_times,
)
from mixsynth_stream.kernels.weights import SynthAttentionWeights


@triton.jit
def token_dense(
    first: tl.tensor,  # channel
    matrices: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [channel block, token keys]
    channel, key = first + tl.arange(0, tile.channel_block), tl.arange(0, tile.padded_token_keys)
    return tl.load(matrices + tile.at.token_dense + channel[:, None] * tile.padded_token_keys + key[None, :])


@triton.jit
def token_attention_again(
    x: tl.tensor,  # [B, T, C]
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """`token_attention`, with what its gradient needs: mean energies, squeezed, gate, energies, attention."""
    pooled = line(0.0, tile.rows) + tl.load(vectors + tile.at.token_pool_bias)
    energies = zeros(tile.rows, tile.padded_token_keys)
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        rows = load_channels(x, first, window, batch, tile)
        pool = tl.load(vectors + tile.at.token_pool + first + tl.arange(0, tile.channel_block))
        pooled += tl.sum(rows * pool[None, :], 1)
        energies += dot(rows, token_dense(first, matrices, tile), tile)
    energies += vector(vectors + tile.at.token_dense_bias, tile.padded_token_keys)[None, :]
    squeeze, excite = matrices + tile.at.token_squeeze, matrices + tile.at.token_excite
    squeezed = tl.maximum(times_vector(squeeze, pooled, tile.squeezed_tokens, tile.rows), 0.0)
    gate = sigmoid(times_vector(excite, squeezed, tile.rows, tile.squeezed_tokens))
    key = tl.arange(0, tile.padded_token_keys)[None, :]
    attention = tl.where(key < tile.token_keys, energies * gate[:, None], -float("inf"))
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
    tile: tl.constexpr,
) -> tl.tensor:  # [token keys, channel block]
    """x, or value_reduce of x along time."""
    if tile.reduces_tokens:
        values = zeros(tile.padded_token_keys, tile.channel_block)
        key = tl.arange(0, tile.padded_token_keys)
        for row_first in tl.range(0, tl.constexpr(tile.rows), tl.constexpr(tile.row_block), num_stages=1):
            row = row_first + tl.arange(0, tile.row_block)
            reduce = tl.load(matrices + tile.at.token_value + key[:, None] * tile.rows + row[None, :])
            place, real = place_tokens(row_first, first, window, tile.channels, tile.channel_block, tile)
            values += dot(reduce, tl.load(x + place, mask=real, other=0.0), tile)
        return values + vector(vectors + tile.at.token_value_bias, tile.padded_token_keys)[:, None]
    else:
        return load_channels(x, first, window, batch, tile)


@triton.jit
def reweight(
    mean: tl.tensor,  # [rows], of both branches over the channels
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """What GELU takes [squeezed tokens], and the token branch's weight [rows]."""
    before = times_vector(matrices + tile.at.reweight_fc1, mean, tile.squeezed_tokens, tile.rows)
    before += vector(vectors + tile.at.reweight_fc1_bias, tile.squeezed_tokens)
    difference = times_vector(matrices + tile.at.reweight_fc2, gelu(before), tile.rows, tile.squeezed_tokens)
    return before, sigmoid(difference + vector(vectors + tile.at.reweight_fc2_bias, tile.rows))


@triton.jit
def reweight_bwd(
    d_difference: tl.tensor,  # [rows]
    before: tl.tensor,  # [squeezed tokens]
    matrices: tl.tensor,
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Gradients of what GELU takes [squeezed tokens], and of every number in a row of both branches [rows]."""
    fc1, fc2 = matrices + tile.at.reweight_fc1, matrices + tile.at.reweight_fc2
    d_before = vector_times(d_difference, fc2, tile.rows, tile.squeezed_tokens) * gelu_slope(before)
    return d_before, vector_times(d_before, fc1, tile.squeezed_tokens, tile.rows) / tile.channels


@triton.jit(do_not_specialize=["batch"])
def token_branch_fwd_kernel(
    x: Float32,  # [B, T, C]
    channel_out: Float32,  # [B, T, C]
    token_out: Float32,  # [B, T, C]: out, as are those below
    mean_out: Float32,  # [B, T], of both branches over the channels
    token_weight: Float32,  # [B, T], a_t
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    tile: tl.constexpr,  # TrainingTile
) -> None:
    """The token branch of a window, and its weight in the mixture with the channel branch."""
    window = tl.program_id(0)
    _, _, _, _, attention = token_attention_again(x, window, batch, matrices, vectors, tile)
    mean = line(0.0, tile.rows)
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        t = dot(attention, token_value_columns(x, first, window, batch, matrices, vectors, tile), tile)
        store_channels(token_out, t, first, window, batch, tile)
        both = t + load_channels(channel_out, first, window, batch, tile)
        real = (first + tl.arange(0, tile.channel_block) < tile.channels)[None, :]
        mean += tl.sum(tl.where(real, both, 0.0), 1) / tile.channels
    store_tokens(mean_out, mean, window, batch, tile)
    _, a_t = reweight(mean, matrices, vectors, tile)
    store_tokens(token_weight, a_t, window, batch, tile)


@triton.jit
def d_branch_columns(
    d_out: tl.tensor,  # [B, T, C]
    d_mean: tl.tensor,  # [rows]
    first: tl.tensor,  # channel
    window: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channel block], zero where padded
    """The gradient of a branch, with what comes through the mixture's weights."""
    d_branch = load_channels(d_out, first, window, batch, tile) + d_mean[:, None]
    return tl.where((first + tl.arange(0, tile.channel_block) < tile.channels)[None, :], d_branch, 0.0)


@triton.jit
def token_weight_bwd(
    mean: tl.tensor,  # [B, T]
    d_difference: tl.tensor,  # [B, T]
    d_mean_out: tl.tensor,  # [B, T]
    reweight_out: tl.tensor,  # [B, 2, squeezed]
    window: tl.tensor,
    batch: tl.tensor,
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows]
    """The gradient that every number of both branches gets through the mixture's weights. It is stored, too."""
    before, _ = reweight(load_tokens(mean, window, batch, tile), matrices, vectors, tile)
    d_before, d_mean = reweight_bwd(load_tokens(d_difference, window, batch, tile), before, matrices, tile)
    start = reweight_out + window.to(tl.int64) * 2 * tile.squeezed_tokens
    store_vectors(start, gelu(before), d_before, tile.squeezed_tokens)
    store_tokens(d_mean_out, d_mean, window, batch, tile)
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
    tile: tl.constexpr,
) -> None:
    """The gradient of the values. It has a loop of its own: beside the other products it would push registers out."""
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        d_branch = d_branch_columns(d_token_out, d_mean, first, window, batch, tile)
        # In this order the attention, which stays in registers for all channels, takes the fewest registers.
        d_values = tl.trans(dot(tl.trans(d_branch), attention, tile))
        if tile.reduces_tokens:
            place, real = place_keys(0, first, window, batch, tile.token_keys, tile.padded_token_keys, tile)
            tl.store(d_values_out + place, d_values, mask=real)
        else:
            d_values += load_channels(d_x, first, window, batch, tile)
            store_channels(d_x, d_values, first, window, batch, tile)


@triton.jit(do_not_specialize=["batch"])
def token_branch_bwd_kernel(
    x: Float32,  # [B, T, C]
    d_token_out: Float32,  # [B, T, C]
    mean: Float32,  # [B, T]
    d_difference: Float32,  # [B, T]
    d_x: Float32,  # [B, T, C]: the residual's part of the gradient of x goes in, and this branch's is added
    d_mean_out: Float32,  # [B, T]: out, as are those below
    d_energies_out: Operands,  # [B, T, m]
    d_values_out: Operands,  # [m, B, C], where tokens are reduced
    reweight_out: Float32,  # [B, 2, squeezed]: what GELU gave, and the gradient of what it took
    gate_out: Float32,  # [B, 2 * rows + 2 * squeezed]: pooled, d_excited, squeezed, d_squeezed
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    tile: tl.constexpr,  # TrainingTile
) -> None:
    """From the gradient of the branch, and of the mixture's weights, to those of x, energies and values."""
    window = tl.program_id(0)
    d_mean = token_weight_bwd(mean, d_difference, d_mean_out, reweight_out, window, batch, matrices, vectors, tile)
    pooled, squeezed, gate, energies, attention = token_attention_again(x, window, batch, matrices, vectors, tile)
    token_values_bwd(attention, d_mean, d_token_out, d_x, d_values_out, window, batch, tile)
    d_attention = zeros(tile.rows, tile.padded_token_keys)
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        values = token_value_columns(x, first, window, batch, matrices, vectors, tile)
        d_branch = d_branch_columns(d_token_out, d_mean, first, window, batch, tile)
        d_attention += dot(d_branch, tl.trans(values), tile)
    d_gated = attention * (d_attention - tl.sum(attention * d_attention, 1)[:, None])
    d_excited = tl.sum(d_gated * energies, 1) * gate * (1.0 - gate)
    squeeze, excite = matrices + tile.at.token_squeeze, matrices + tile.at.token_excite
    d_squeezed, d_pooled = squeeze_excite_bwd(d_excited, squeezed, squeeze, excite, tile.rows, tile.squeezed_tokens)
    # The pool is a mean of energies, so its gradient joins theirs.
    own = tl.arange(0, tile.padded_token_keys)[None, :] < tile.token_keys
    d_energies = d_gated * gate[:, None] + tl.where(own, d_pooled[:, None] / tile.token_keys, 0.0)
    store_columns(d_energies_out, d_energies, 0, window, batch, tile.token_keys, tile.padded_token_keys, tile)
    gate_out += window.to(tl.int64) * 2 * (tile.rows + tile.squeezed_tokens)
    store_vectors(gate_out, pooled, d_excited, tile.rows)
    store_vectors(gate_out + 2 * tile.rows, squeezed, d_squeezed, tile.squeezed_tokens)
    # The loop below reads back what other threads stored.
    tl.debug_barrier()
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        d_rows = dot(d_energies, tl.trans(token_dense(first, matrices, tile)), tile)
        if tile.reduces_tokens:
            place, real = place_keys(0, first, window, batch, tile.token_keys, tile.padded_token_keys, tile)
            reduce = matrix(matrices + tile.at.token_value, tile.padded_token_keys, tile.rows)
            d_rows += dot(tl.trans(reduce), tl.load(d_values_out + place, mask=real, other=0.0), tile)
        d_rows += load_channels(d_x, first, window, batch, tile)
        store_channels(d_x, d_rows, first, window, batch, tile)


KERNELS = (token_branch_fwd_kernel, token_branch_bwd_kernel)


class TokenBranch(NamedTuple):
    """The token branch, and its weight in the mixture."""

    t: Tensor  # [B, T, C]
    mean: Tensor  # [B, T], of both branches over the channels
    weight: Tensor  # [B, T], a_t


class TokenBranchGradients(NamedTuple):
    """Gradients of the weights, and of the mean of both branches."""

    d_mean: Tensor  # [B, T], of every number in a row of both branches
    weights: SynthAttentionWeights
    reweight: tuple[Tensor, Tensor, Tensor, Tensor]  # both Linears that weigh the mixture


def token_branch(
    layer: PackedLayer,
    x: Tensor,  # [B, T, C]
    c: Tensor,  # [B, T, C], the channel branch
) -> TokenBranch:
    """The token branch of every window."""
    t, mean, weight = torch.empty_like(x), x.new_empty(x.shape[:2]), x.new_empty(x.shape[:2])
    layer.launch(token_branch_fwd_kernel, x, c, t, mean, weight, *layer.packed)
    return TokenBranch(t, mean, weight)


def token_branch_bwd(
    layer: PackedLayer,
    x: Tensor,  # [B, T, C]
    operand_x: OperandX,
    d_t: Tensor,  # [B, T, C], without what comes through the mixture's weights
    mean: Tensor,  # [B, T]
    d_difference: Tensor,  # [B, T], of what a_t is the sigmoid of
    d_x: Tensor,  # [B, T, C], to which this branch's part is added
) -> TokenBranchGradients:
    """Gradients of the branch and of the mixture's weights."""
    tile = layer.tile
    d_mean, reweight = torch.empty_like(mean), x.new_empty(len(x), 2, tile.squeezed_tokens)
    gate = x.new_empty(len(x), 2 * (tile.rows + tile.squeezed_tokens))
    d_energies = layer.new_rows(x, tile.token_keys)
    d_values = layer.new_keys(x, tile.token_keys * tile.reduces_tokens)
    outputs = d_x, d_mean, d_energies, d_values, reweight, gate
    layer.launch(token_branch_bwd_kernel, x, d_t, mean, d_difference, *outputs, *layer.packed)
    weights = SynthAttentionWeights(
        *linear_bwd(operand_x.rows, d_energies),
        *gate_weights_bwd(gate, tile.rows, tile.tokens),
        *linear_bwd_by_keys(d_values, operand_x.by_time),
    )
    hidden, d_before = reweight[..., : tile.tokens // 4].unbind(1)
    return TokenBranchGradients(d_mean, weights, reweight_weights_bwd(mean, d_difference, hidden, d_before))

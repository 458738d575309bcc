"""Synth mix in training: the mixture with its dropout, up to the first LayerNorm; and backwards to both branches.

Given the mixture's weights, each token is computed by itself, so a program takes a block of tokens, wherever windows
end, and `batch` counts tokens. The weights depend on all tokens of a window; `token_branch.py` makes them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.arguments import Float32, Int8, Operands
from mixsynth_stream.kernels.pieces import dot, load_windows, store_windows, vector, zeros
from mixsynth_stream.kernels.training.dropout import KeepMasks, factors
from mixsynth_stream.kernels.training.library_products import linear_bwd
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.pieces import load_channels, load_tokens, store_tokens


@triton.jit
def proj_block(
    first: tl.tensor,
    matrices: tl.tensor,
    ROWS: tl.constexpr,  # whether the block is of rows (channels of the mixture) or of columns
    tile: tl.constexpr,
) -> tl.tensor:  # [channel block, channels] or [channels, channel block]
    some, every = first + tl.arange(0, tile.channel_block), tl.arange(0, tile.padded_channels)
    if ROWS:
        return tl.load(matrices + tile.at.proj + some[:, None] * tile.padded_channels + every[None, :])
    else:
        return tl.load(matrices + tile.at.proj + every[:, None] * tile.padded_channels + some[None, :])


@triton.jit(do_not_specialize=["batch"])
def synth_mix_train_fwd_kernel(
    x: Float32,  # [B, T, C]
    token_out: Float32,  # [B, T, C]
    channel_out: Float32,  # [B, T, C]
    token_weight: Float32,  # [B, T]
    summed: Float32,  # [B, T, C]
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    kept_proj: Int8,  # [B, T, C]
    share: float,
    batch: int,
    tile: tl.constexpr,  # TokenTile
    DROPS: tl.constexpr,
) -> None:
    """summed = x + dropped proj(a_t * t + a_c * c)."""
    group = tl.program_id(0)
    a_t = load_tokens(token_weight, group, batch, tile)[:, None]
    mixed = zeros(tile.rows, tile.padded_channels)
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        t = load_channels(token_out, first, group, batch, tile)
        c = load_channels(channel_out, first, group, batch, tile)
        mixed += dot(c + (t - c) * a_t, proj_block(first, matrices, True, tile), tile)
    mixed += vector(vectors + tile.at.proj_bias, tile.padded_channels)[None, :]
    if DROPS:
        mixed *= factors(kept_proj, share, group, batch, 0, tile.channels, tile.padded_channels, tile)
    store_windows(summed, load_windows(x, group, batch, tile) + mixed, group, batch, tile)


@triton.jit(do_not_specialize=["batch"])
def synth_mix_bwd_kernel(
    d_proj: Operands,  # [B, T, C]
    token_out: Float32,  # [B, T, C]
    channel_out: Float32,  # [B, T, C]
    token_weight: Float32,  # [B, T]
    d_token_out: Float32,  # [B, T, C]: output, as those below; without the part through the mixture's weights
    d_channel_out: Float32,  # [B, T, C], likewise without that part
    d_difference: Float32,  # [B, T]
    mixed_out: Operands,  # [B, T, C], what the projection took
    matrices: Operands,  # packed
    batch: int,
    tile: tl.constexpr,  # TokenTile
) -> None:
    """From the gradient of the projection to those of both branches and of their weights. Named as in `ref.py`."""
    group = tl.program_id(0)
    d_mixed = zeros(tile.rows, tile.padded_channels)
    for first in tl.range(0, tl.constexpr(tile.padded_channels), tl.constexpr(tile.channel_block), num_stages=1):
        block = load_channels(d_proj, first, group, batch, tile)
        d_mixed += dot(block, tl.trans(proj_block(first, matrices, False, tile)), tile)
    a_t = load_tokens(token_weight, group, batch, tile)
    c = load_windows(channel_out, group, batch, tile)
    gap = load_windows(token_out, group, batch, tile) - c
    store_windows(mixed_out, c + gap * a_t[:, None], group, batch, tile)
    store_tokens(d_difference, tl.sum(d_mixed * gap, 1) * a_t * (1.0 - a_t), group, batch, tile)
    store_windows(d_token_out, d_mixed * a_t[:, None], group, batch, tile)
    store_windows(d_channel_out, d_mixed * (1.0 - a_t)[:, None], group, batch, tile)


KERNELS = (synth_mix_train_fwd_kernel, synth_mix_bwd_kernel)


class SynthMixGradients(NamedTuple):
    """Gradients of both branches, of the difference whose sigmoid is a_t, and of the projection's weights."""

    d_t: Tensor  # [B, T, C], without the part through the mixture's weights
    d_c: Tensor  # [B, T, C], likewise
    d_difference: Tensor  # [B, T]
    proj: tuple[Tensor, Tensor]


def synth_mix(
    layer: PackedLayer,
    x: Tensor,  # [B, T, C]
    t: Tensor,  # [B, T, C], the token branch
    c: Tensor,  # [B, T, C], the channel branch
    weight: Tensor,  # [B, T], a_t
    masks: KeepMasks,
) -> Tensor:  # [B, T, C]
    """x + dropped proj(a_t * t + a_c * c)."""
    summed = torch.empty_like(x)
    layer.launch_tokens(
        synth_mix_train_fwd_kernel, x, t, c, weight, summed, *layer.packed, masks.proj, masks.share, DROPS=masks.drops
    )
    return summed


def synth_mix_bwd(
    layer: PackedLayer,
    d_proj: Tensor,  # [B, T, C] operands
    t: Tensor,  # [B, T, C]
    c: Tensor,  # [B, T, C]
    weight: Tensor,  # [B, T]
) -> SynthMixGradients:
    """The gradients that follow from `d_proj`, that of the projection's output."""
    d_t, d_c, d_difference = torch.empty_like(t), torch.empty_like(c), torch.empty_like(weight)
    mixed = torch.empty_like(d_proj)
    layer.launch_tokens(synth_mix_bwd_kernel, d_proj, t, c, weight, d_t, d_c, d_difference, mixed, layer.matrices)
    return SynthMixGradients(d_t, d_c, d_difference, linear_bwd(mixed, d_proj))

"""Ends of the network: keyframes into the first layer, poses out of the last."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import dot, matrix, normed, vector, window_rows, zeros


@triton.jit
def keyframe_block(
    keyframes: tl.tensor,  # [B, Q+1, D]
    group: tl.tensor,
    first: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [keyframes of all windows, numbers of one block]
    row = tl.arange(0, tile.padded_keyframes)
    keyframe = row % tile.keyframe_slot
    window = group * tile.windows + row // tile.keyframe_slot
    number = first + tl.arange(0, tile.numbers_block)
    real = (keyframe < tile.keyframes) & (row // tile.keyframe_slot < tile.windows) & (window < batch)
    place = (window.to(tl.int64) * tile.keyframes + keyframe) * tile.numbers
    return tl.load(
        keyframes + place[:, None] + number[None, :], mask=real[:, None] & (number < tile.numbers)[None, :], other=0.0
    )


@triton.jit
def embed(
    keyframes: tl.tensor,  # [B, Q+1, D]
    matrices: tl.tensor,
    vectors: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """Embeds the keyframes and then interpolates. The published order is the other way round, and more work."""
    channel = tl.arange(0, tile.padded_channels)
    number = tl.arange(0, tile.numbers_block)
    embedded = zeros(tile.padded_keyframes, tile.padded_channels)
    for first in tl.range(0, tl.constexpr(tile.padded_numbers), tl.constexpr(tile.numbers_block), num_stages=1):
        block = keyframe_block(keyframes, group, first, batch, tile)
        emb = tl.load(matrices + tile.at.emb + (first + number)[:, None] * tile.padded_channels + channel[None, :])
        embedded += dot(block, emb, tile)
    x = tl.dot(matrix(vectors + tile.at.interp, tile.rows, tile.padded_keyframes), embedded, input_precision="tf32x3")
    bias = vector(vectors + tile.at.interp_bias, tile.rows)
    x += bias[:, None] * vector(vectors + tile.at.emb_sum, tile.padded_channels)[None, :]
    return x + vector(vectors + tile.at.emb_bias, tile.padded_channels)[None, :]


@triton.jit
def finish(
    x: tl.tensor,  # [rows, channels]
    keyframes: tl.tensor,  # [B, Q+1, D]
    motion: tl.tensor,  # [B, T, D]
    matrices: tl.tensor,
    vectors: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> None:
    """motion = fc(norm(x)) + interpolated keyframes. To make those again is cheaper than to keep them."""
    x = normed(x, vectors + tile.at.norm_weight, vectors + tile.at.norm_bias, tile)
    place, real = window_rows(group, batch, tile.numbers, tile)
    channel = tl.arange(0, tile.padded_channels)
    interp = matrix(vectors + tile.at.interp, tile.rows, tile.padded_keyframes)
    interp_bias = vector(vectors + tile.at.interp_bias, tile.rows)
    for first in tl.range(0, tl.constexpr(tile.padded_numbers), tl.constexpr(tile.numbers_block), num_stages=1):
        number = first + tl.arange(0, tile.numbers_block)
        fc = tl.load(matrices + tile.at.fc + channel[:, None] * tile.padded_numbers + number[None, :])
        out = dot(x, fc, tile) + tl.load(vectors + tile.at.fc_bias + number)[None, :]
        block = keyframe_block(keyframes, group, first, batch, tile)
        out += tl.dot(interp, block, input_precision="tf32x3") + interp_bias[:, None]
        tl.store(motion + place[:, None] + number[None, :], out, mask=real[:, None] & (number < tile.numbers)[None, :])

"""Both ends of the network: keyframes into the first layer, poses out of the last."""

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
    S: tl.constexpr,
) -> tl.tensor:  # [keyframes of all windows, numbers of one block]
    row = tl.arange(0, S.padded_keyframes)
    keyframe = row % S.keyframe_slot
    window = group * S.windows + row // S.keyframe_slot
    number = first + tl.arange(0, S.numbers_block)
    there = (keyframe < S.keyframes) & (row // S.keyframe_slot < S.windows) & (window < batch)
    place = (window.to(tl.int64) * S.keyframes + keyframe) * S.numbers
    return tl.load(
        keyframes + place[:, None] + number[None, :], mask=there[:, None] & (number < S.numbers)[None, :], other=0.0
    )


@triton.jit
def embed(
    keyframes: tl.tensor,  # [B, Q+1, D]
    matrices: tl.tensor,
    vectors: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """Embeds the keyframes and then interpolates: the published order the other way round, and less work."""
    channel = tl.arange(0, S.padded_channels)
    number = tl.arange(0, S.numbers_block)
    embedded = zeros(S.padded_keyframes, S.padded_channels)
    for first in tl.range(0, tl.constexpr(S.padded_numbers), tl.constexpr(S.numbers_block), num_stages=1):
        block = keyframe_block(keyframes, group, first, batch, S)
        emb = tl.load(matrices + S.at.emb + (first + number)[:, None] * S.padded_channels + channel[None, :])
        embedded += dot(block, emb, S)
    x = tl.dot(matrix(vectors + S.at.interp, S.rows, S.padded_keyframes), embedded, input_precision="tf32x3")
    bias = vector(vectors + S.at.interp_bias, S.rows)
    x += bias[:, None] * vector(vectors + S.at.emb_sum, S.padded_channels)[None, :]
    return x + vector(vectors + S.at.emb_bias, S.padded_channels)[None, :]


@triton.jit
def finish(
    x: tl.tensor,  # [rows, channels]
    keyframes: tl.tensor,  # [B, Q+1, D]
    motion: tl.tensor,  # [B, T, D]
    matrices: tl.tensor,
    vectors: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    S: tl.constexpr,
) -> None:
    """motion = fc(norm(x)) + interpolated keyframes, which are made again: cheaper than to keep them."""
    x = normed(x, vectors + S.at.norm_weight, vectors + S.at.norm_bias, S)
    place, there = window_rows(group, batch, S.numbers, S)
    channel = tl.arange(0, S.padded_channels)
    interp = matrix(vectors + S.at.interp, S.rows, S.padded_keyframes)
    interp_bias = vector(vectors + S.at.interp_bias, S.rows)
    for first in tl.range(0, tl.constexpr(S.padded_numbers), tl.constexpr(S.numbers_block), num_stages=1):
        number = first + tl.arange(0, S.numbers_block)
        fc = tl.load(matrices + S.at.fc + channel[:, None] * S.padded_numbers + number[None, :])
        out = dot(x, fc, S) + tl.load(vectors + S.at.fc_bias + number)[None, :]
        block = keyframe_block(keyframes, group, first, batch, S)
        out += tl.dot(interp, block, input_precision="tf32x3") + interp_bias[:, None]
        tl.store(motion + place[:, None] + number[None, :], out, mask=there[:, None] & (number < S.numbers)[None, :])

"""Kernels of the network in blocks: four launches a layer and one for each end, for windows that no program can hold.

Every product reads its operands a block at a time inside its loop, so that registers and shared memory stay small on
any card and in any precision. Sizes are arguments, not constants, so that networks of different shapes share compiled
kernels. Between launches x, both branches and their sums over channels lie in device memory, in float32 and padded as
the weights are (rows R, channels P). Energies and attention never do. Padded rows hold finite numbers that nobody
reads; padded channels of x are zero. `launch.py` has the grids.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.arguments import Float32, Operands
from mixsynth_stream.kernels.pieces import NORM_EPSILON, dot, gelu, line, sigmoid, zeros

# Keyframes that the interpolation takes at once. There are few of them, and tl.dot takes no fewer.
KEYFRAMES = tl.constexpr(16)


@triton.jit
def block(start: tl.tensor, row: tl.tensor, column: tl.tensor, width: int) -> tl.tensor:  # [rows, columns]
    """Some rows and columns of a packed matrix or of a window; nothing is masked."""
    return tl.load(start + row[:, None] * width + column[None, :])


@triton.jit
def inner_dot(
    a: tl.tensor,  # starts of matrices
    b: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    length: int,
    width: int,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    blocks: tl.constexpr,
) -> tl.tensor:  # [ROWS, COLUMNS]
    """a[row] @ b[:, column] of a [.., length] and b [length, width], blocks.inner numbers at a time."""
    out = zeros(ROWS, COLUMNS)
    for first in range(0, length, blocks.inner):
        inner = first + tl.arange(0, blocks.inner)
        out += dot(block(a, row, inner, length), block(b, inner, column, width), blocks)
    return out


@triton.jit
def squeeze_energies(
    x: tl.tensor,
    squeeze: tl.tensor,
    pool: tl.tensor,
    pool_bias: tl.tensor,
    length: int,
    stride: int,
    other_length: int,
    other_stride: int,
    blocks: tl.constexpr,
) -> tl.tensor:  # [blocks.squeezed]
    """relu(W1 pooled) of a branch's gate. `length` counts its tokens or channels; the other axis is pooled."""
    out = line(0.0, blocks.squeezed)
    number = tl.arange(0, blocks.squeezed)
    for first in range(0, length, blocks.inner):
        own = first + tl.arange(0, blocks.inner)
        pooled = line(0.0, blocks.inner) + tl.load(pool_bias)
        for other_first in range(0, other_length, blocks.inner):
            other = other_first + tl.arange(0, blocks.inner)
            values = tl.load(x + own[:, None] * stride + other[None, :] * other_stride)
            pooled += tl.sum(values * tl.load(pool + other)[None, :], 1)
        out += tl.sum(block(squeeze, number, own, length).to(tl.float32) * pooled[None, :], 1)
    return tl.maximum(out, 0.0)


@triton.jit
def excite_energies(excite: tl.tensor, own: tl.tensor, squeezed: tl.tensor, blocks: tl.constexpr) -> tl.tensor:
    """W2 squeezed, for some tokens or channels: what the gate's sigmoid takes."""
    rows = block(excite, own, tl.arange(0, blocks.squeezed), blocks.squeezed)
    return tl.sum(rows.to(tl.float32) * squeezed[None, :], 1)


@triton.jit
def program_block(blocks: tl.constexpr) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """What a program works on: a window, and some of its rows and columns."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * blocks.rows + tl.arange(0, blocks.rows)
    return window, row, tl.program_id(2) * blocks.columns + tl.arange(0, blocks.columns)


@triton.jit
def softmax_block(
    energies: tl.tensor,  # [rows, columns] of a block of keys, minus infinity where padded
    largest: tl.tensor,  # of each row or column, over the keys before this block
    total: tl.tensor,  # likewise, the sum of the exponentials
    AXIS: tl.constexpr,  # along which the keys are
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """One more block of keys of a softmax: its exponentials, the factor for older ones, the new maximum and sum."""
    new = tl.maximum(largest, tl.max(energies, AXIS))
    exponentials = tl.exp(energies - tl.expand_dims(new, AXIS))
    scale = tl.exp(largest - new)
    return exponentials, scale, new, total * scale + tl.sum(exponentials, AXIS)


@triton.jit(do_not_specialize=["keyframe_count", "number_count"])
def blocks_embed_fwd_kernel(
    keyframes: Float32,  # [B, Q+1, D]
    x: Float32,  # [B, R, P]
    emb: Operands,  # [padded D, P]
    emb_sum: Float32,  # [P]
    emb_bias: Float32,  # [P]
    interp: Float32,  # [R, padded Q+1]
    interp_bias: Float32,  # [R]
    keyframe_count: int,
    number_count: int,
    rows: int,
    channels: int,
    padded_keyframes: int,
    padded_numbers: int,
    blocks: tl.constexpr,  # Blocks
) -> None:
    """Embeds and interpolates the keyframes, for a block of tokens and channels of one window."""
    window, row, channel = program_block(blocks)
    out = zeros(blocks.rows, blocks.columns)
    keyframes += window * keyframe_count * number_count
    for first in range(0, padded_keyframes, KEYFRAMES):
        keyframe = first + tl.arange(0, KEYFRAMES)
        embedded = zeros(KEYFRAMES, blocks.columns)
        for first_number in range(0, padded_numbers, blocks.inner):
            number = first_number + tl.arange(0, blocks.inner)
            real = (keyframe < keyframe_count)[:, None] & (number < number_count)[None, :]
            values = tl.load(keyframes + keyframe[:, None] * number_count + number[None, :], mask=real, other=0.0)
            embedded += dot(values, block(emb, number, channel, channels), blocks)
        out += tl.dot(block(interp, row, keyframe, padded_keyframes), embedded, input_precision="tf32x3")
    out += tl.load(interp_bias + row)[:, None] * tl.load(emb_sum + channel)[None, :]
    out += tl.load(emb_bias + channel)[None, :]
    tl.store(x + window * rows * channels + row[:, None] * channels + channel[None, :], out)


@triton.jit(do_not_specialize=["key_count"])
def blocks_channel_fwd_kernel(
    x: Float32,  # [B, R, P]
    out: Float32,  # [B, R, P]
    dense: Operands,  # [keys, R]
    dense_bias: Float32,  # [keys]
    pool: Float32,  # [R]
    pool_bias: Float32,  # [1]
    squeeze: Operands,  # [squeezed, P]
    excite: Operands,  # [P, squeezed]
    value: Operands,  # [P, keys]
    value_bias: Float32,  # [keys]
    key_count: int,
    padded_keys: int,
    rows: int,
    channels: int,
    blocks: tl.constexpr,  # Blocks
) -> None:
    """The channel branch, for a block of tokens and channels of one window, a block of keys at a time."""
    window, row, channel = program_block(blocks)
    x += window * rows * channels
    squeezed = squeeze_energies(x, squeeze, pool, pool_bias, channels, 1, rows, channels, blocks)
    gate = sigmoid(excite_energies(excite, channel, squeezed, blocks))
    largest = line(-float("inf"), blocks.columns)
    total = line(0.0, blocks.columns)
    c = zeros(blocks.rows, blocks.columns)
    for first in range(0, key_count, blocks.keys):
        key = first + tl.arange(0, blocks.keys)
        energies = inner_dot(dense, x, key, channel, rows, channels, blocks.keys, blocks.columns, blocks)
        energies = (energies + tl.load(dense_bias + key)[:, None]) * gate[None, :]
        energies = tl.where((key < key_count)[:, None], energies, -float("inf"))
        attention, scale, largest, total = softmax_block(energies, largest, total, 0)
        if blocks.reduces:
            values = inner_dot(x, value, row, key, channels, padded_keys, blocks.rows, blocks.keys, blocks)
            values += tl.load(value_bias + key)[None, :]
        else:
            values = block(x, row, key, channels)
        c = c * scale[None, :] + dot(values, attention, blocks)
    out += window * rows * channels
    tl.store(out + row[:, None] * channels + channel[None, :], c / total[None, :])


@triton.jit(do_not_specialize=["key_count", "channel_count"])
def blocks_token_fwd_kernel(
    x: Float32,  # [B, R, P]
    channel_out: Float32,  # [B, R, P]
    out: Float32,  # [B, R, P]
    sums: Float32,  # [B, R, blocks of channels]
    dense: Operands,  # [P, keys]
    dense_bias: Float32,  # [keys]
    pool: Float32,  # [P]
    pool_bias: Float32,  # [1]
    squeeze: Operands,  # [squeezed, R]
    excite: Operands,  # [R, squeezed]
    value: Operands,  # [keys, R]
    value_bias: Float32,  # [keys]
    key_count: int,
    channel_count: int,
    padded_keys: int,
    rows: int,
    channels: int,
    blocks: tl.constexpr,  # Blocks
) -> None:
    """The token branch, and the sum of both branches over a block of channels, which decides the mixture's weights."""
    window, row, channel = program_block(blocks)
    x += window * rows * channels
    squeezed = squeeze_energies(x, squeeze, pool, pool_bias, rows, channels, channels, 1, blocks)
    gate = sigmoid(excite_energies(excite, row, squeezed, blocks))
    largest = line(-float("inf"), blocks.rows)
    total = line(0.0, blocks.rows)
    t = zeros(blocks.rows, blocks.columns)
    for first in range(0, key_count, blocks.keys):
        key = first + tl.arange(0, blocks.keys)
        energies = inner_dot(x, dense, row, key, channels, padded_keys, blocks.rows, blocks.keys, blocks)
        energies = (energies + tl.load(dense_bias + key)[None, :]) * gate[:, None]
        energies = tl.where((key < key_count)[None, :], energies, -float("inf"))
        attention, scale, largest, total = softmax_block(energies, largest, total, 1)
        if blocks.reduces:
            values = inner_dot(value, x, key, channel, rows, channels, blocks.keys, blocks.columns, blocks)
            values += tl.load(value_bias + key)[:, None]
        else:
            values = block(x, key, channel, channels)
        t = t * scale[:, None] + dot(attention, values, blocks)
    t = t / total[:, None]
    place = window * rows * channels + row[:, None] * channels + channel[None, :]
    tl.store(out + place, t)
    both = tl.where((channel < channel_count)[None, :], t + tl.load(channel_out + place), 0.0)
    tl.store(sums + (window * rows + row) * tl.num_programs(2) + tl.program_id(2), tl.sum(both, 1))


@triton.jit(do_not_specialize=["channel_count", "sum_count"])
def blocks_mix_fwd_kernel(
    x: Float32,  # [B, R, P]
    channel_out: Float32,  # [B, R, P]
    token_out: Float32,  # [B, R, P]
    sums: Float32,  # [B, R, blocks of channels]
    fc1: Operands,  # [squeezed, R]
    fc1_bias: Float32,  # [squeezed]
    fc2: Operands,  # [R, squeezed]
    fc2_bias: Float32,  # [R]
    proj: Operands,  # [P, P]
    proj_bias: Float32,  # [P]
    norm_weight: Float32,  # [P]
    norm_bias: Float32,  # [P]
    sum_count: int,
    channel_count: int,
    rows: int,
    blocks: tl.constexpr,  # Blocks
) -> None:
    """x = LayerNorm(x + proj(a_t * t + a_c * c)) for a block of tokens, in place."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * blocks.rows + tl.arange(0, blocks.rows)
    channel = tl.arange(0, blocks.columns)
    hidden = tl.load(fc1_bias + tl.arange(0, blocks.squeezed))
    for first in range(0, rows, blocks.inner):
        token = first + tl.arange(0, blocks.inner)
        pooled = line(0.0, blocks.inner)
        for i in range(sum_count):
            pooled += tl.load(sums + (window * rows + token) * sum_count + i)
        weights = block(fc1, tl.arange(0, blocks.squeezed), token, rows).to(tl.float32)
        hidden += tl.sum(weights * (pooled / channel_count)[None, :], 1)
    a_t = sigmoid(excite_energies(fc2, row, gelu(hidden), blocks) + tl.load(fc2_bias + row))
    start = window * rows * blocks.columns
    mixed = zeros(blocks.rows, blocks.columns)
    for first in range(0, blocks.columns, blocks.inner):
        inner = first + tl.arange(0, blocks.inner)
        token = block(token_out + start, row, inner, blocks.columns) * a_t[:, None]
        token += block(channel_out + start, row, inner, blocks.columns) * (1.0 - a_t)[:, None]
        mixed += dot(token, block(proj, inner, channel, blocks.columns), blocks)
    mixed += block(x + start, row, channel, blocks.columns) + tl.load(proj_bias + channel)[None, :]
    mixed = row_norm(mixed, norm_weight, norm_bias, channel_count, blocks)
    tl.store(x + start + row[:, None] * blocks.columns + channel[None, :], mixed)


@triton.jit
def row_norm(x: tl.tensor, weight: tl.tensor, bias: tl.tensor, channel_count: int, blocks: tl.constexpr) -> tl.tensor:
    """LayerNorm of whole rows [blocks.rows, blocks.columns], zero in padded columns before and after."""
    channel = tl.arange(0, blocks.columns)
    centred = tl.where((channel < channel_count)[None, :], x - (tl.sum(x, 1) / channel_count)[:, None], 0.0)
    variance = tl.sum(centred * centred, 1) / channel_count
    scaled = centred * (1.0 / tl.sqrt(variance + NORM_EPSILON))[:, None]
    return scaled * tl.load(weight + channel)[None, :] + tl.load(bias + channel)[None, :]


@triton.jit(do_not_specialize=["channel_count"])
def blocks_feed_forward_fwd_kernel(
    x: Float32,  # [rows of all windows, P]
    fc1: Operands,  # [P, hidden]
    fc1_bias: Float32,  # [hidden]
    fc2: Operands,  # [hidden, P]
    fc2_bias: Float32,  # [P]
    norm_weight: Float32,  # [P]
    norm_bias: Float32,  # [P]
    channel_count: int,
    hidden: int,
    blocks: tl.constexpr,  # Blocks
) -> None:
    """x = LayerNorm(x + Linear(GELU(Linear(x)))) for a block of tokens, in place."""
    x += tl.program_id(0).to(tl.int64) * blocks.rows * blocks.columns
    row = tl.arange(0, blocks.rows)
    channel = tl.arange(0, blocks.columns)
    out = zeros(blocks.rows, blocks.columns)
    for first in range(0, hidden, blocks.keys):
        number = first + tl.arange(0, blocks.keys)
        values = inner_dot(x, fc1, row, number, blocks.columns, hidden, blocks.rows, blocks.keys, blocks)
        values = gelu(values + tl.load(fc1_bias + number)[None, :])
        out += dot(values, block(fc2, number, channel, blocks.columns), blocks)
    out += block(x, row, channel, blocks.columns) + tl.load(fc2_bias + channel)[None, :]
    out = row_norm(out, norm_weight, norm_bias, channel_count, blocks)
    tl.store(x + row[:, None] * blocks.columns + channel[None, :], out)


@triton.jit(do_not_specialize=["keyframe_count", "number_count", "tokens", "channel_count"])
def blocks_finish_fwd_kernel(
    x: Float32,  # [B, R, P]
    keyframes: Float32,  # [B, Q+1, D]
    motion: Float32,  # [B, T, D]
    norm_weight: Float32,  # [P]
    norm_bias: Float32,  # [P]
    fc: Operands,  # [P, padded D]
    fc_bias: Float32,  # [padded D]
    interp: Float32,  # [R, padded Q+1]
    interp_bias: Float32,  # [R]
    keyframe_count: int,
    number_count: int,
    tokens: int,
    channel_count: int,
    rows: int,
    channels: int,
    padded_keyframes: int,
    padded_numbers: int,
    blocks: tl.constexpr,  # Blocks
) -> None:
    """motion = fc(LayerNorm(x)) + interpolated keyframes, for a block of tokens and numbers of one window."""
    window, row, number = program_block(blocks)
    x += window * rows * channels
    mean, scale = row_statistics(x, row, channels, channel_count, blocks)
    out = zeros(blocks.rows, blocks.columns)
    for first in range(0, channels, blocks.inner):
        inner = first + tl.arange(0, blocks.inner)
        values = (block(x, row, inner, channels) - mean[:, None]) * scale[:, None]
        values = values * tl.load(norm_weight + inner)[None, :] + tl.load(norm_bias + inner)[None, :]
        out += dot(values, block(fc, inner, number, padded_numbers), blocks)
    out += tl.load(fc_bias + number)[None, :] + tl.load(interp_bias + row)[:, None]
    keyframes += window * keyframe_count * number_count
    for first in range(0, padded_keyframes, KEYFRAMES):
        keyframe = first + tl.arange(0, KEYFRAMES)
        real = (keyframe < keyframe_count)[:, None] & (number < number_count)[None, :]
        values = tl.load(keyframes + keyframe[:, None] * number_count + number[None, :], mask=real, other=0.0)
        out += tl.dot(block(interp, row, keyframe, padded_keyframes), values, input_precision="tf32x3")
    motion += window * tokens * number_count
    real = (row < tokens)[:, None] & (number < number_count)[None, :]
    tl.store(motion + row[:, None] * number_count + number[None, :], out, mask=real)


@triton.jit
def row_statistics(
    x: tl.tensor, row: tl.tensor, channels: int, channel_count: int, blocks: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:  # [blocks.rows] each
    """The mean of each row of a window, and one over its standard deviation."""
    total = line(0.0, blocks.rows)
    for first in range(0, channels, blocks.inner):
        total += tl.sum(block(x, row, first + tl.arange(0, blocks.inner), channels), 1)
    mean = total / channel_count
    squares = line(0.0, blocks.rows)
    for first in range(0, channels, blocks.inner):
        channel = first + tl.arange(0, blocks.inner)
        centred = block(x, row, channel, channels) - mean[:, None]
        squares += tl.sum(tl.where((channel < channel_count)[None, :], centred * centred, 0.0), 1)
    return mean, 1.0 / tl.sqrt(squares / channel_count + NORM_EPSILON)

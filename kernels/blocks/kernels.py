"""The network in blocks: four launches a layer and one for each end, for windows that one program cannot hold.

Every product reads its operands a block at a time inside its loop, so that registers and shared memory stay small on
any card and in any precision. Sizes are arguments, not constants: networks of different shapes share what is compiled.
Between launches x, what each branch gives and its sums over channels lie in device memory, in float32 and padded as the
weights are (rows R, channels P); energies and attention do not. Padded rows hold finite numbers that nobody reads;
padded channels of x are zero. `launch.py` has the grids.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import dot, gelu, line, sigmoid, zeros

# Keyframes that the interpolation takes at once: there are few of them, and tl.dot takes no fewer.
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
    S: tl.constexpr,
) -> tl.tensor:  # [ROWS, COLUMNS]
    """a[row] @ b[:, column] of a [.., length] and b [length, width], S.inner numbers at a time."""
    out = zeros(ROWS, COLUMNS)
    for first in range(0, length, S.inner):
        inner = first + tl.arange(0, S.inner)
        out += dot(block(a, row, inner, length), block(b, inner, column, width), S)
    return out


@triton.jit
def squeezed(
    x: tl.tensor,
    squeeze: tl.tensor,
    pool: tl.tensor,
    pool_bias: tl.tensor,
    length: int,
    stride: int,
    other_length: int,
    other_stride: int,
    S: tl.constexpr,
) -> tl.tensor:  # [S.squeezed]
    """relu(W1 pooled) of a branch's gate; `length` are its tokens or channels, and the other axis is pooled."""
    out = line(0.0, S.squeezed)
    number = tl.arange(0, S.squeezed)
    for first in range(0, length, S.inner):
        own = first + tl.arange(0, S.inner)
        pooled = line(0.0, S.inner) + tl.load(pool_bias)
        for other_first in range(0, other_length, S.inner):
            other = other_first + tl.arange(0, S.inner)
            values = tl.load(x + own[:, None] * stride + other[None, :] * other_stride)
            pooled += tl.sum(values * tl.load(pool + other)[None, :], 1)
        out += tl.sum(block(squeeze, number, own, length).to(tl.float32) * pooled[None, :], 1)
    return tl.maximum(out, 0.0)


@triton.jit
def excited(excite: tl.tensor, own: tl.tensor, squeezed_numbers: tl.tensor, S: tl.constexpr) -> tl.tensor:
    """W2 times that, for some tokens or channels."""
    rows = block(excite, own, tl.arange(0, S.squeezed), S.squeezed)
    return tl.sum(rows.to(tl.float32) * squeezed_numbers[None, :], 1)


@triton.jit(do_not_specialize=["keyframe_count", "number_count"])
def tiled_embed_fwd_kernel(
    keyframes: tl.tensor,  # [B, Q+1, D]
    x: tl.tensor,  # [B, R, P]
    emb: tl.tensor,  # [padded D, P]
    emb_sum: tl.tensor,  # [P]
    emb_bias: tl.tensor,  # [P]
    interp: tl.tensor,  # [R, padded Q+1]
    interp_bias: tl.tensor,  # [R]
    keyframe_count: int,
    number_count: int,
    rows: int,
    channels: int,
    padded_keyframes: int,
    padded_numbers: int,
    S: tl.constexpr,  # Blocks
) -> None:
    """Keyframes embedded and interpolated: a block of tokens and channels of one window."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * S.rows + tl.arange(0, S.rows)
    channel = tl.program_id(2) * S.columns + tl.arange(0, S.columns)
    out = zeros(S.rows, S.columns)
    keyframes += window * keyframe_count * number_count
    for first in range(0, padded_keyframes, KEYFRAMES):
        keyframe = first + tl.arange(0, KEYFRAMES)
        embedded = zeros(KEYFRAMES, S.columns)
        for first_number in range(0, padded_numbers, S.inner):
            number = first_number + tl.arange(0, S.inner)
            there = (keyframe < keyframe_count)[:, None] & (number < number_count)[None, :]
            values = tl.load(keyframes + keyframe[:, None] * number_count + number[None, :], mask=there, other=0.0)
            embedded += dot(values, block(emb, number, channel, channels), S)
        out += tl.dot(block(interp, row, keyframe, padded_keyframes), embedded, input_precision="tf32x3")
    out += tl.load(interp_bias + row)[:, None] * tl.load(emb_sum + channel)[None, :]
    out += tl.load(emb_bias + channel)[None, :]
    tl.store(x + window * rows * channels + row[:, None] * channels + channel[None, :], out)


@triton.jit(do_not_specialize=["key_count"])
def tiled_channel_fwd_kernel(
    x: tl.tensor,  # [B, R, P]
    out: tl.tensor,  # [B, R, P]
    dense: tl.tensor,  # [keys, R]
    dense_bias: tl.tensor,  # [keys]
    pool: tl.tensor,  # [R]
    pool_bias: tl.tensor,  # [1]
    squeeze: tl.tensor,  # [squeezed, P]
    excite: tl.tensor,  # [P, squeezed]
    value: tl.tensor,  # [P, keys]
    value_bias: tl.tensor,  # [keys]
    key_count: int,
    padded_keys: int,
    rows: int,
    channels: int,
    S: tl.constexpr,  # Blocks
) -> None:
    """What the channels synthesise, for a block of tokens and channels of one window; a block of keys at a time."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * S.rows + tl.arange(0, S.rows)
    channel = tl.program_id(2) * S.columns + tl.arange(0, S.columns)
    x += window * rows * channels
    numbers = squeezed(x, squeeze, pool, pool_bias, channels, 1, rows, channels, S)
    gate = sigmoid(excited(excite, channel, numbers, S))
    largest = line(-float("inf"), S.columns)
    total = line(0.0, S.columns)
    synthesised = zeros(S.rows, S.columns)
    for first in range(0, key_count, S.keys):
        key = first + tl.arange(0, S.keys)
        energies = inner_dot(dense, x, key, channel, rows, channels, S.keys, S.columns, S)
        energies = (energies + tl.load(dense_bias + key)[:, None]) * gate[None, :]
        energies = tl.where((key < key_count)[:, None], energies, -float("inf"))
        new = tl.maximum(largest, tl.max(energies, 0))
        attention = tl.exp(energies - new[None, :])
        scale = tl.exp(largest - new)
        total = total * scale + tl.sum(attention, 0)
        if S.reduces:
            values = inner_dot(x, value, row, key, channels, padded_keys, S.rows, S.keys, S)
            values += tl.load(value_bias + key)[None, :]
        else:
            values = block(x, row, key, channels)
        synthesised = synthesised * scale[None, :] + dot(values, attention, S)
        largest = new
    out += window * rows * channels
    tl.store(out + row[:, None] * channels + channel[None, :], synthesised / total[None, :])


@triton.jit(do_not_specialize=["key_count", "channel_count"])
def tiled_token_fwd_kernel(
    x: tl.tensor,  # [B, R, P]
    channel_out: tl.tensor,  # [B, R, P]
    out: tl.tensor,  # [B, R, P]
    sums: tl.tensor,  # [B, R, blocks of channels]
    dense: tl.tensor,  # [P, keys]
    dense_bias: tl.tensor,  # [keys]
    pool: tl.tensor,  # [P]
    pool_bias: tl.tensor,  # [1]
    squeeze: tl.tensor,  # [squeezed, R]
    excite: tl.tensor,  # [R, squeezed]
    value: tl.tensor,  # [keys, R]
    value_bias: tl.tensor,  # [keys]
    key_count: int,
    channel_count: int,
    padded_keys: int,
    rows: int,
    channels: int,
    S: tl.constexpr,  # Blocks
) -> None:
    """What the tokens synthesise, and the sum over a block of channels of what both do, which weighs the mixture."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * S.rows + tl.arange(0, S.rows)
    channel = tl.program_id(2) * S.columns + tl.arange(0, S.columns)
    x += window * rows * channels
    numbers = squeezed(x, squeeze, pool, pool_bias, rows, channels, channels, 1, S)
    gate = sigmoid(excited(excite, row, numbers, S))
    largest = line(-float("inf"), S.rows)
    total = line(0.0, S.rows)
    synthesised = zeros(S.rows, S.columns)
    for first in range(0, key_count, S.keys):
        key = first + tl.arange(0, S.keys)
        energies = inner_dot(x, dense, row, key, channels, padded_keys, S.rows, S.keys, S)
        energies = (energies + tl.load(dense_bias + key)[None, :]) * gate[:, None]
        energies = tl.where((key < key_count)[None, :], energies, -float("inf"))
        new = tl.maximum(largest, tl.max(energies, 1))
        attention = tl.exp(energies - new[:, None])
        scale = tl.exp(largest - new)
        total = total * scale + tl.sum(attention, 1)
        if S.reduces:
            values = inner_dot(value, x, key, channel, rows, channels, S.keys, S.columns, S)
            values += tl.load(value_bias + key)[:, None]
        else:
            values = block(x, key, channel, channels)
        synthesised = synthesised * scale[:, None] + dot(attention, values, S)
        largest = new
    synthesised = synthesised / total[:, None]
    place = window * rows * channels + row[:, None] * channels + channel[None, :]
    tl.store(out + place, synthesised)
    both = tl.where((channel < channel_count)[None, :], synthesised + tl.load(channel_out + place), 0.0)
    tl.store(sums + (window * rows + row) * tl.num_programs(2) + tl.program_id(2), tl.sum(both, 1))


@triton.jit(do_not_specialize=["channel_count", "sum_count"])
def tiled_mix_fwd_kernel(
    x: tl.tensor,  # [B, R, P]
    channel_out: tl.tensor,  # [B, R, P]
    token_out: tl.tensor,  # [B, R, P]
    sums: tl.tensor,  # [B, R, blocks of channels]
    fc1: tl.tensor,  # [squeezed, R]
    fc1_bias: tl.tensor,  # [squeezed]
    fc2: tl.tensor,  # [R, squeezed]
    fc2_bias: tl.tensor,  # [R]
    proj: tl.tensor,  # [P, P]
    proj_bias: tl.tensor,  # [P]
    norm_weight: tl.tensor,  # [P]
    norm_bias: tl.tensor,  # [P]
    sum_count: int,
    channel_count: int,
    rows: int,
    S: tl.constexpr,  # Blocks
) -> None:
    """x = LayerNorm(x + proj(a_t * t + a_c * c)) for a block of tokens, in place."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * S.rows + tl.arange(0, S.rows)
    channel = tl.arange(0, S.columns)
    hidden = tl.load(fc1_bias + tl.arange(0, S.squeezed))
    for first in range(0, rows, S.inner):
        token = first + tl.arange(0, S.inner)
        pooled = line(0.0, S.inner)
        for i in range(sum_count):
            pooled += tl.load(sums + (window * rows + token) * sum_count + i)
        weights = block(fc1, tl.arange(0, S.squeezed), token, rows).to(tl.float32)
        hidden += tl.sum(weights * (pooled / channel_count)[None, :], 1)
    a_t = sigmoid(excited(fc2, row, gelu(hidden), S) + tl.load(fc2_bias + row))
    start = window * rows * S.columns
    mixed = zeros(S.rows, S.columns)
    for first in range(0, S.columns, S.inner):
        inner = first + tl.arange(0, S.inner)
        token = block(token_out + start, row, inner, S.columns) * a_t[:, None]
        token += block(channel_out + start, row, inner, S.columns) * (1.0 - a_t)[:, None]
        mixed += dot(token, block(proj, inner, channel, S.columns), S)
    mixed += block(x + start, row, channel, S.columns) + tl.load(proj_bias + channel)[None, :]
    mixed = row_norm(mixed, norm_weight, norm_bias, channel_count, S)
    tl.store(x + start + row[:, None] * S.columns + channel[None, :], mixed)


@triton.jit
def row_norm(x: tl.tensor, weight: tl.tensor, bias: tl.tensor, channel_count: int, S: tl.constexpr) -> tl.tensor:
    """LayerNorm of whole rows [S.rows, S.columns], zero in padded columns before and after."""
    channel = tl.arange(0, S.columns)
    centred = tl.where((channel < channel_count)[None, :], x - (tl.sum(x, 1) / channel_count)[:, None], 0.0)
    variance = tl.sum(centred * centred, 1) / channel_count
    scaled = centred * (1.0 / tl.sqrt(variance + 1e-5))[:, None]
    return scaled * tl.load(weight + channel)[None, :] + tl.load(bias + channel)[None, :]


@triton.jit(do_not_specialize=["channel_count"])
def tiled_feed_forward_fwd_kernel(
    x: tl.tensor,  # [rows of all windows, P]
    fc1: tl.tensor,  # [P, hidden]
    fc1_bias: tl.tensor,  # [hidden]
    fc2: tl.tensor,  # [hidden, P]
    fc2_bias: tl.tensor,  # [P]
    norm_weight: tl.tensor,  # [P]
    norm_bias: tl.tensor,  # [P]
    channel_count: int,
    hidden: int,
    S: tl.constexpr,  # Blocks
) -> None:
    """x = LayerNorm(x + Linear(GELU(Linear(x)))) for a block of tokens, in place."""
    x += tl.program_id(0).to(tl.int64) * S.rows * S.columns
    row = tl.arange(0, S.rows)
    channel = tl.arange(0, S.columns)
    out = zeros(S.rows, S.columns)
    for first in range(0, hidden, S.keys):
        number = first + tl.arange(0, S.keys)
        made = inner_dot(x, fc1, row, number, S.columns, hidden, S.rows, S.keys, S)
        made = gelu(made + tl.load(fc1_bias + number)[None, :])
        out += dot(made, block(fc2, number, channel, S.columns), S)
    out += block(x, row, channel, S.columns) + tl.load(fc2_bias + channel)[None, :]
    out = row_norm(out, norm_weight, norm_bias, channel_count, S)
    tl.store(x + row[:, None] * S.columns + channel[None, :], out)


@triton.jit(do_not_specialize=["keyframe_count", "number_count", "tokens", "channel_count"])
def tiled_finish_fwd_kernel(
    x: tl.tensor,  # [B, R, P]
    keyframes: tl.tensor,  # [B, Q+1, D]
    motion: tl.tensor,  # [B, T, D]
    norm_weight: tl.tensor,  # [P]
    norm_bias: tl.tensor,  # [P]
    fc: tl.tensor,  # [P, padded D]
    fc_bias: tl.tensor,  # [padded D]
    interp: tl.tensor,  # [R, padded Q+1]
    interp_bias: tl.tensor,  # [R]
    keyframe_count: int,
    number_count: int,
    tokens: int,
    channel_count: int,
    rows: int,
    channels: int,
    padded_keyframes: int,
    padded_numbers: int,
    S: tl.constexpr,  # Blocks
) -> None:
    """motion = fc(LayerNorm(x)) + interpolated keyframes, for a block of tokens and numbers of one window."""
    window = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * S.rows + tl.arange(0, S.rows)
    number = tl.program_id(2) * S.columns + tl.arange(0, S.columns)
    x += window * rows * channels
    mean, scale = row_statistics(x, row, channels, channel_count, S)
    out = zeros(S.rows, S.columns)
    for first in range(0, channels, S.inner):
        inner = first + tl.arange(0, S.inner)
        values = (block(x, row, inner, channels) - mean[:, None]) * scale[:, None]
        values = values * tl.load(norm_weight + inner)[None, :] + tl.load(norm_bias + inner)[None, :]
        out += dot(values, block(fc, inner, number, padded_numbers), S)
    out += tl.load(fc_bias + number)[None, :] + tl.load(interp_bias + row)[:, None]
    keyframes += window * keyframe_count * number_count
    for first in range(0, padded_keyframes, KEYFRAMES):
        keyframe = first + tl.arange(0, KEYFRAMES)
        there = (keyframe < keyframe_count)[:, None] & (number < number_count)[None, :]
        values = tl.load(keyframes + keyframe[:, None] * number_count + number[None, :], mask=there, other=0.0)
        out += tl.dot(block(interp, row, keyframe, padded_keyframes), values, input_precision="tf32x3")
    motion += window * tokens * number_count
    there = (row < tokens)[:, None] & (number < number_count)[None, :]
    tl.store(motion + row[:, None] * number_count + number[None, :], out, mask=there)


@triton.jit
def row_statistics(
    x: tl.tensor, row: tl.tensor, channels: int, channel_count: int, S: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:  # [S.rows] each
    """Mean and one over the standard deviation of rows of one window."""
    total = line(0.0, S.rows)
    for first in range(0, channels, S.inner):
        total += tl.sum(block(x, row, first + tl.arange(0, S.inner), channels), 1)
    mean = total / channel_count
    squares = line(0.0, S.rows)
    for first in range(0, channels, S.inner):
        channel = first + tl.arange(0, S.inner)
        centred = block(x, row, channel, channels) - mean[:, None]
        squares += tl.sum(tl.where((channel < channel_count)[None, :], centred * centred, 0.0), 1)
    return mean, 1.0 / tl.sqrt(squares / channel_count + 1e-5)

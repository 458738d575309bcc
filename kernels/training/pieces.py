"""Pieces of the backward kernels: LayerNorm's and GELU's gradient, vectors and columns out."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import matrix, only_real, vector, window_rows


@triton.jit
def norm_bwd(
    x: tl.tensor,  # [rows, channels], what was normalised; zero where padded
    weight: tl.tensor,
    d_out: tl.tensor,  # [rows, channels], zero where padded
    partial: tl.tensor,  # [2, padded channels] of this program
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channels], zero where padded
    """Gradient of LayerNorm's input. This program's part of those of its weight and bias goes to `partial`."""
    centred = only_real(x - tl.sum(x, 1)[:, None] / S.channels, S.channels, S.padded_channels)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / S.channels + 1e-5)
    normal = centred * scale[:, None]
    channel = tl.arange(0, S.padded_channels)
    tl.store(partial + channel, tl.sum(d_out * normal, 0))
    tl.store(partial + S.padded_channels + channel, tl.sum(d_out, 0))
    d_normal = d_out * vector(weight, S.padded_channels)[None, :]
    mean = tl.sum(d_normal, 1) / S.channels
    along = tl.sum(d_normal * normal, 1) / S.channels
    d_x = scale[:, None] * (d_normal - mean[:, None] - normal * along[:, None])
    return only_real(d_x, S.channels, S.padded_channels)


@triton.jit
def gelu_slope(x: tl.tensor) -> tl.tensor:
    return 0.5 * (1.0 + tl.erf(x * 0.7071067811865476)) + x * tl.exp(-0.5 * x * x) * 0.3989422804014327


@triton.jit
def vector_times(
    v: tl.tensor,  # [ROWS]
    start: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> tl.tensor:  # [COLUMNS] float32
    """A vector times a packed matrix: a Linear backwards."""
    return tl.sum(matrix(start, ROWS, COLUMNS).to(tl.float32) * v[:, None], 0)


@triton.jit
def squeeze_excite_bwd(
    d_excited: tl.tensor,  # [LENGTH], of what the sigmoid takes
    squeezed: tl.tensor,  # [SQUEEZED]
    squeeze: tl.tensor,
    excite: tl.tensor,
    LENGTH: tl.constexpr,
    SQUEEZED: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Gradients of what ReLU takes [SQUEEZED] and of the mean energies [LENGTH]."""
    d_squeezed = tl.where(squeezed > 0, vector_times(d_excited, excite, LENGTH, SQUEEZED), 0.0)
    return d_squeezed, vector_times(d_squeezed, squeeze, SQUEEZED, LENGTH)


@triton.jit
def store_columns(
    out: tl.tensor,  # [B, T, WIDTH]
    value: tl.tensor,  # [rows, COLUMNS]
    first: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    S: tl.constexpr,
) -> None:
    place, there = window_rows(group, batch, WIDTH, S)
    column = (first + tl.arange(0, COLUMNS))[None, :]
    tl.store(out + place[:, None] + column, value, mask=there[:, None] & (column < WIDTH))


@triton.jit
def load_columns(
    x: tl.tensor,  # [B, T, WIDTH]
    first: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, COLUMNS], zero where padded
    place, there = window_rows(group, batch, WIDTH, S)
    column = (first + tl.arange(0, COLUMNS))[None, :]
    return tl.load(x + place[:, None] + column, mask=there[:, None] & (column < WIDTH), other=0.0)


@triton.jit
def load_tokens(x: tl.tensor, group: tl.tensor, batch: tl.tensor, S: tl.constexpr) -> tl.tensor:  # [B, T] -> [rows]
    place, there = window_rows(group, batch, 1, S)
    return tl.load(x + place, mask=there, other=0.0)


@triton.jit
def store_tokens(out: tl.tensor, value: tl.tensor, group: tl.tensor, batch: tl.tensor, S: tl.constexpr) -> None:
    place, there = window_rows(group, batch, 1, S)
    tl.store(out + place, value, mask=there)


@triton.jit
def block_of(
    row_first: tl.tensor,
    first: tl.tensor,
    window: tl.tensor,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Where a block of tokens and columns of a window lies in [B, T, WIDTH], and what of it is there."""
    token, column = row_first + tl.arange(0, S.row_block)[:, None], first + tl.arange(0, COLUMNS)[None, :]
    place = (window.to(tl.int64) * S.tokens + token) * WIDTH + column
    return place, (token < S.tokens) & (column < WIDTH)


@triton.jit
def keys_of(
    key_first: tl.tensor,
    first: tl.tensor,
    window: tl.tensor,
    batch: tl.tensor,
    KEYS: tl.constexpr,
    COUNT: tl.constexpr,
    COLUMNS: tl.constexpr,
    S: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Where some of a window's keys, in a block of channels, lie in [KEYS, B, C], and what of it is there.

    Keys outermost: so the gradient of the matrix that made them is one product without a copy.
    """
    key, channel = key_first + tl.arange(0, COUNT)[:, None], (first + tl.arange(0, COLUMNS))[None, :]
    place = (key.to(tl.int64) * batch + window) * S.channels
    return place + channel, (key < KEYS) & (channel < S.channels)


@triton.jit
def store_vectors(start: tl.tensor, first: tl.tensor, second: tl.tensor, LENGTH: tl.constexpr) -> None:
    """Two vectors [LENGTH], one behind the other."""
    place = start + tl.arange(0, LENGTH)
    tl.store(place, first)
    tl.store(place + LENGTH, second)

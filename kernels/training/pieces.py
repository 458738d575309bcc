"""Pieces that training adds: LayerNorm's and GELU's gradient, and vectors, columns and blocks in and out.

`tile` is a `TrainingTile`, or a `TokenTile`, to which each token is a window of its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import NORM_EPSILON, matrix, only_real, vector, window_rows


@triton.jit
def norm_bwd(
    x: tl.tensor,  # [rows, channels], what was normalised; zero where padded
    weight: tl.tensor,
    d_out: tl.tensor,  # [rows, channels], zero where padded
    partial: tl.tensor,  # [2, padded channels] of this program
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channels], zero where padded
    """Gradient of LayerNorm's input. This program's part of the gradients of weight and bias goes to `partial`."""
    centred = only_real(x - tl.sum(x, 1)[:, None] / tile.channels, tile.channels, tile.padded_channels)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / tile.channels + NORM_EPSILON)
    normal = centred * scale[:, None]
    channel = tl.arange(0, tile.padded_channels)
    tl.store(partial + channel, tl.sum(d_out * normal, 0))
    tl.store(partial + tile.padded_channels + channel, tl.sum(d_out, 0))
    d_normal = d_out * vector(weight, tile.padded_channels)[None, :]
    mean = tl.sum(d_normal, 1) / tile.channels
    along = tl.sum(d_normal * normal, 1) / tile.channels
    d_x = scale[:, None] * (d_normal - mean[:, None] - normal * along[:, None])
    return only_real(d_x, tile.channels, tile.padded_channels)


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
    tile: tl.constexpr,
) -> None:
    """Columns `first` and on of a group's rows."""
    place, real = window_rows(group, batch, WIDTH, tile)
    column = (first + tl.arange(0, COLUMNS))[None, :]
    tl.store(out + place[:, None] + column, value, mask=real[:, None] & (column < WIDTH))


@triton.jit
def load_columns(
    x: tl.tensor,  # [B, T, WIDTH]
    first: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, COLUMNS], zero where padded
    """Columns `first` and on of a group's rows."""
    place, real = window_rows(group, batch, WIDTH, tile)
    column = (first + tl.arange(0, COLUMNS))[None, :]
    return tl.load(x + place[:, None] + column, mask=real[:, None] & (column < WIDTH), other=0.0)


@triton.jit
def load_channels(
    x: tl.tensor,  # [B, T, C]
    first: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channel block], zero where padded
    return load_columns(x, first, group, batch, tile.channels, tile.channel_block, tile)


@triton.jit
def store_channels(
    out: tl.tensor,  # [B, T, C]
    value: tl.tensor,  # [rows, channel block]
    first: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> None:
    store_columns(out, value, first, group, batch, tile.channels, tile.channel_block, tile)


@triton.jit
def load_tokens(x: tl.tensor, group: tl.tensor, batch: tl.tensor, tile: tl.constexpr) -> tl.tensor:  # [B, T] -> [rows]
    place, real = window_rows(group, batch, 1, tile)
    return tl.load(x + place, mask=real, other=0.0)


@triton.jit
def store_tokens(out: tl.tensor, value: tl.tensor, group: tl.tensor, batch: tl.tensor, tile: tl.constexpr) -> None:
    place, real = window_rows(group, batch, 1, tile)
    tl.store(out + place, value, mask=real)


@triton.jit
def place_tokens(
    row_first: tl.tensor,
    first: tl.tensor,
    window: tl.tensor,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Where a block of a window's tokens and columns lies in [B, T, WIDTH], and which of it is no padding."""
    token, column = row_first + tl.arange(0, tile.row_block)[:, None], first + tl.arange(0, COLUMNS)[None, :]
    place = (window.to(tl.int64) * tile.tokens + token) * WIDTH + column
    return place, (token < tile.tokens) & (column < WIDTH)


@triton.jit
def place_keys(
    key_first: tl.tensor,
    first: tl.tensor,  # channel
    window: tl.tensor,
    batch: tl.tensor,
    KEYS: tl.constexpr,
    COUNT: tl.constexpr,  # of keys in the block
    tile: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Where a block of a window's keys and channels lies in [KEYS, B, C], and which of it is no padding.

    Keys are outermost, so that the gradient of the matrix that made them is one product without a copy.
    """
    key, channel = key_first + tl.arange(0, COUNT)[:, None], (first + tl.arange(0, tile.channel_block))[None, :]
    place = (key.to(tl.int64) * batch + window) * tile.channels
    return place + channel, (key < KEYS) & (channel < tile.channels)


@triton.jit
def store_vectors(start: tl.tensor, first: tl.tensor, second: tl.tensor, LENGTH: tl.constexpr) -> None:
    """Two vectors [LENGTH], one behind the other."""
    place = start + tl.arange(0, LENGTH)
    tl.store(place, first)
    tl.store(place + LENGTH, second)

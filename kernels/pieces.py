"""Pieces of the kernels: the matrix product in each precision, LayerNorm, GELU, the two-layer gate, rows in and out.

`tile` is a `Tile`, which holds a group of windows, or in training a `TokenTile`, to which each token is a window.
"""

from __future__ import annotations

import triton
import triton.language as tl

# LayerNorm adds it to the variance, as torch does.
NORM_EPSILON = tl.constexpr(1e-5)


@triton.jit
def to_tf32(x: tl.tensor) -> tl.tensor:
    """The nearest TF32. Tensor cores by themselves cut 13 bits off: up to ten times the error, all in one direction."""
    return ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit
def dot(
    a: tl.tensor,  # [m, k]
    b: tl.tensor,  # [k, n]
    tile: tl.constexpr,  # whatever holds a precision
) -> tl.tensor:  # [m, n] float32
    """Operands are rounded as tile.precision says; sums are always float32. strict: three products of TF32 parts."""
    if tile.precision == "strict":
        return tl.dot(a, b, input_precision="tf32x3")
    elif tile.precision == "tf32":
        return tl.dot(to_tf32(a), to_tf32(b), input_precision="tf32")
    elif tile.precision == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    else:
        return tl.dot(a.to(tl.float16), b.to(tl.float16))


@triton.jit
def matrix(start: tl.tensor, ROWS: tl.constexpr, COLUMNS: tl.constexpr) -> tl.tensor:
    """A packed matrix: whole, contiguous, no mask."""
    return tl.load(start + tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])


@triton.jit
def vector(start: tl.tensor, LENGTH: tl.constexpr) -> tl.tensor:
    """A packed vector."""
    return tl.load(start + tl.arange(0, LENGTH))


@triton.jit
def zeros(ROWS: tl.constexpr, COLUMNS: tl.constexpr) -> tl.tensor:  # [ROWS, COLUMNS] float32
    return tl.zeros((ROWS, COLUMNS), tl.float32)


@triton.jit
def line(value: float, LENGTH: tl.constexpr) -> tl.tensor:  # [LENGTH] float32
    return tl.full((LENGTH,), value, tl.float32)


@triton.jit
def only_real(x: tl.tensor, REAL: tl.constexpr, PADDED: tl.constexpr) -> tl.tensor:  # [rows, PADDED]
    """`x` with zeros in its padded columns."""
    if REAL == PADDED:
        return x
    else:
        return tl.where(tl.arange(0, PADDED)[None, :] < REAL, x, 0.0)


@triton.jit
def layer_norm(
    x: tl.tensor,  # [rows, PADDED], zero in padded columns
    weight: tl.tensor,  # [PADDED], zero where padded
    bias: tl.tensor,  # [PADDED], zero where padded
    REAL: tl.constexpr,
    PADDED: tl.constexpr,
) -> tl.tensor:  # [rows, PADDED], zero in padded columns
    """Over the last axis, as torch does it."""
    centred = only_real(x - tl.sum(x, 1)[:, None] / REAL, REAL, PADDED)
    variance = tl.sum(centred * centred, 1) / REAL
    return centred * (1.0 / tl.sqrt(variance + NORM_EPSILON))[:, None] * weight[None, :] + bias[None, :]


@triton.jit
def gelu(x: tl.tensor) -> tl.tensor:
    """The exact GELU: its tanh approximation is off by 4.7e-4."""
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def sigmoid(x: tl.tensor) -> tl.tensor:
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def times_vector(
    start: tl.tensor,
    v: tl.tensor,  # [COLUMNS]
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> tl.tensor:  # [ROWS] float32
    """A packed matrix times a vector."""
    return tl.sum(matrix(start, ROWS, COLUMNS).to(tl.float32) * v[None, :], 1)


@triton.jit
def squeeze_excite(
    pooled: tl.tensor,  # [LENGTH], mean energies
    squeeze: tl.tensor,
    excite: tl.tensor,
    LENGTH: tl.constexpr,
    SQUEEZED: tl.constexpr,
) -> tl.tensor:  # [LENGTH]
    """The gate: sigmoid(W2 relu(W1 pooled))."""
    squeezed = tl.maximum(times_vector(squeeze, pooled, SQUEEZED, LENGTH), 0.0)
    return sigmoid(times_vector(excite, squeezed, LENGTH, SQUEEZED))


@triton.jit
def normed(x: tl.tensor, weight: tl.tensor, bias: tl.tensor, tile: tl.constexpr) -> tl.tensor:  # [rows, channels]
    """LayerNorm with packed weights."""
    weight, bias = vector(weight, tile.padded_channels), vector(bias, tile.padded_channels)
    return layer_norm(x, weight, bias, tile.channels, tile.padded_channels)


@triton.jit
def norm1(x: tl.tensor, vectors: tl.tensor, tile: tl.constexpr) -> tl.tensor:  # [rows, channels]
    """A layer's first LayerNorm, which stands behind the attention."""
    return normed(x, vectors + tile.at.norm1_weight, vectors + tile.at.norm1_bias, tile)


@triton.jit
def norm2(x: tl.tensor, vectors: tl.tensor, tile: tl.constexpr) -> tl.tensor:  # [rows, channels]
    """A layer's second LayerNorm, which stands behind the feed-forward."""
    return normed(x, vectors + tile.at.norm2_weight, vectors + tile.at.norm2_bias, tile)


@triton.jit
def window_rows(
    group: tl.tensor, batch: tl.tensor, WIDTH: tl.constexpr, tile: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """For each row of a group: where it starts in [B, T, WIDTH], and whether it is a token of a window."""
    row = tl.arange(0, tile.rows)
    token = row % tile.token_slot
    window = group * tile.windows + row // tile.token_slot
    return (window.to(tl.int64) * tile.tokens + token) * WIDTH, (token < tile.tokens) & (window < batch)


@triton.jit
def cached_windows(
    x: tl.tensor,  # [B, T, C]
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
    CACHE: tl.constexpr,
) -> tl.tensor:  # [rows, channels], zero where padded
    place, real = window_rows(group, batch, tile.channels, tile)
    channel = tl.arange(0, tile.padded_channels)[None, :]
    return tl.load(
        x + place[:, None] + channel,
        mask=real[:, None] & (channel < tile.channels),
        other=0.0,
        cache_modifier=CACHE,
    )


@triton.jit
def load_windows(x: tl.tensor, group: tl.tensor, batch: tl.tensor, tile: tl.constexpr) -> tl.tensor:
    """A group's windows [rows, channels] of x [B, T, C], zero where padded."""
    return cached_windows(x, group, batch, tile, "")


@triton.jit
def load_windows_again(x: tl.tensor, group: tl.tensor, batch: tl.tensor, tile: tl.constexpr) -> tl.tensor:
    """`load_windows` in a form that the compiler does not take for the first load, which it would keep in registers."""
    return cached_windows(x, group, batch, tile, ".ca")


@triton.jit
def store_windows(
    out: tl.tensor,  # [B, T, C]
    x: tl.tensor,  # [rows, channels]
    group: tl.tensor,
    batch: tl.tensor,
    tile: tl.constexpr,
) -> None:
    place, real = window_rows(group, batch, tile.channels, tile)
    channel = tl.arange(0, tile.padded_channels)[None, :]
    tl.store(out + place[:, None] + channel, x, mask=real[:, None] & (channel < tile.channels))

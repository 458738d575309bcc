"""Dropout by a counter: what is dropped depends on a seed and a place only, so that a recomputation drops the same."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.product import window_rows

# Which of a layer's three dropouts: the upper half of the counter, whose lower half is the place.
PROJ = tl.constexpr(0)
HIDDEN = tl.constexpr(1)
OUT = tl.constexpr(2)


@triton.jit
def kept(
    seed: tl.tensor,  # [1] int64
    share: tl.tensor,  # that is dropped, 0..1
    group: tl.tensor,
    batch: tl.tensor,
    first: tl.tensor,
    WIDTH: tl.constexpr,  # numbers a token
    COLUMNS: tl.constexpr,
    STREAM: tl.constexpr,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, COLUMNS]
    """What dropout multiplies columns `first` and on of a group's rows by: 0, or 1 / (1 - share)."""
    place, _ = window_rows(group, batch, WIDTH, S)
    counter = place[:, None] + (first + tl.arange(0, COLUMNS))[None, :] + STREAM * 4294967296
    return tl.where(tl.rand(tl.load(seed), counter) >= share, 1.0 / (1.0 - share), 0.0)

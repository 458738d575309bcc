"""Dropout by a counter: what is dropped depends on a seed and a place only, so that a recomputation drops the same."""

from __future__ import annotations

import triton
import triton.language as tl

# Which of a layer's three dropouts, as a part of the counter.
PROJ = tl.constexpr(0)
HIDDEN = tl.constexpr(1)
OUT = tl.constexpr(2)


@triton.jit
def kept(
    seed: tl.tensor,  # [1] int64
    share: tl.tensor,  # that is dropped, 0..1
    window: tl.tensor,
    first: tl.tensor,
    WIDTH: tl.constexpr,  # numbers a token
    COLUMNS: tl.constexpr,
    STREAM: tl.constexpr,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, COLUMNS]
    """What dropout multiplies columns `first` and on of a window's rows by: 0, or 1 / (1 - share).

    The counter is (place in the window, dropout, window, 0): counters of 64 bits would take twice the registers.
    """
    place = tl.arange(0, S.rows)[:, None] * WIDTH + (first + tl.arange(0, COLUMNS))[None, :]
    random, _, _, _ = tl.philox(tl.load(seed), place, STREAM, window, 0)
    uniform = (random >> 8).to(tl.float32) * (1.0 / 16777216.0)
    return tl.where(uniform >= share, 1.0 / (1.0 - share), 0.0)

"""Dropout by a counter: what is dropped depends on a seed and a place only, so that a recomputation drops the same."""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.pieces import window_rows

BLOCK = 1024


# Triton would compile anew for counts of whole sixteens, and for every second layer's seed.
@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["seed"])
def dropout_fwd_kernel(
    kept: tl.tensor,  # [B, T, numbers] int8: out, 1 where something is kept
    seed: tl.tensor,  # [1] int64
    share: float,  # that is dropped, 0..1
    count: int,  # T * numbers
    STREAM: tl.constexpr,  # which of the layer's dropouts: 0 after proj, 1 after GELU, 2 after fc2
    BLOCK: tl.constexpr,
) -> None:
    """Philox of the counter (place in the window, dropout, window, 0). A launch of its own: it takes many registers."""
    window = tl.program_id(0)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    random, _, _, _ = tl.philox(tl.load(seed), place, STREAM, window, 0)
    uniform = (random >> 8).to(tl.float32) * (1.0 / 16777216.0)
    tl.store(kept + window.to(tl.int64) * count + place, (uniform >= share).to(tl.int8), mask=place < count)


@triton.jit
def factors(
    kept: tl.tensor,  # [B, T, WIDTH] int8
    share: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    first: tl.tensor,
    WIDTH: tl.constexpr,  # numbers a token
    COLUMNS: tl.constexpr,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, COLUMNS]
    """What dropout multiplies columns `first` and on of a group's rows by: 0, or 1 / (1 - share)."""
    place, there = window_rows(group, batch, WIDTH, S)
    column = (first + tl.arange(0, COLUMNS))[None, :]
    found = tl.load(kept + place[:, None] + column, mask=there[:, None] & (column < WIDTH), other=0)
    return found.to(tl.float32) * (1.0 / (1.0 - share))

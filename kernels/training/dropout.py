"""Dropout by a counter: a seed and a place alone decide what is dropped, so that a recomputation drops the same."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mixsynth_stream.kernels.arguments import Int8, Int64
from mixsynth_stream.kernels.card import launch_options
from mixsynth_stream.kernels.pieces import window_rows
from mixsynth_stream.kernels.training.tile import TrainingTile

BLOCK = 1024


# Otherwise Triton would compile anew for counts that are multiples of 16, and for every second layer's seed.
@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["seed"])
def dropout_fwd_kernel(
    mask: Int8,  # [B, T, numbers]: out, 1 where something is kept
    seed: Int64,  # [1]
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
    tl.store(mask + window.to(tl.int64) * count + place, (uniform >= share).to(tl.int8), mask=place < count)


@triton.jit
def factors(
    mask: tl.tensor,  # [B, T, WIDTH] int8
    share: tl.tensor,
    group: tl.tensor,
    batch: tl.tensor,
    first: tl.tensor,
    WIDTH: tl.constexpr,  # numbers a token
    COLUMNS: tl.constexpr,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, COLUMNS]
    """The factors of dropout for a group's rows and for columns from `first` on: 0, or 1 / (1 - share)."""
    place, real = window_rows(group, batch, WIDTH, tile)
    column = (first + tl.arange(0, COLUMNS))[None, :]
    bits = tl.load(mask + place[:, None] + column, mask=real[:, None] & (column < WIDTH), other=0)
    return bits.to(tl.float32) * (1.0 / (1.0 - share))


class KeepMasks(NamedTuple):
    """What the dropouts of a layer keep, a byte a number: 1 where it is kept. Without dropout nothing reads it."""

    proj: Tensor  # [B, T, C]
    hidden: Tensor  # [B, T, E]
    out: Tensor  # [B, T, C]
    share: float  # that is dropped, 0..1

    @property
    def drops(self) -> bool:
        return self.share > 0


def dropout(
    x: Tensor,  # [B, T, C]
    tile: TrainingTile,
    seed: Tensor,  # [1] int64
    share: float,
) -> KeepMasks:
    """What a layer drops of the windows in x."""
    if not share:
        return KeepMasks(seed, seed, seed, share)
    masks = []
    for stream, width in enumerate((tile.channels, tile.hidden, tile.channels)):
        mask, count = x.new_empty(*x.shape[:2], width, dtype=torch.int8), tile.tokens * width
        options = launch_options(tile.num_warps)
        dropout_fwd_kernel[len(x), -(-count // BLOCK)](mask, seed, share, count, STREAM=stream, BLOCK=BLOCK, **options)
        masks.append(mask)
    return KeepMasks(masks[0], masks[1], masks[2], share)

"""Plan: in which launches a forward runs, and what one program can hold. No torch and no Triton in here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.tile import Tile

# The card whose registers and wgmma the fused kernels are for. Other cards get blocks.
FUSED_CAPABILITY = (9, 0)
# The multiprocessors of such a card.
FUSED_PROGRAMS = 132

# A program holds at most so many numbers of x [rows, channels], the largest array that stays in registers for long.
_LARGEST_TILE = 128 * 128
_MOST_ROWS = 256
# Up to these sizes, or half of them where strict, one launch does the whole network or a whole layer without a spill.
_WHOLE_STACK = 64 * 32
_WHOLE_LAYER = 128 * 64
# In strict, larger windows go in blocks.
_WHOLE_STRICT = 64 * 32
# Windows as short as jhmdb's (11 tokens) are grouped until their rows fill a tensor-core instruction of 64 rows.
_GROUPED_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What one launch does. `all_layers`: every layer, in a loop; otherwise parts of one layer."""

    embed: bool = False
    all_layers: bool = False
    channel: bool = False
    token: bool = False  # only in blocks: otherwise it is part of mix
    mix: bool = False
    feed_forward: bool = False
    finish: bool = False


@dataclass(frozen=True)
class Plan:
    """How one forward of a batch runs: fused, with a group of windows in a program, or in blocks of a window."""

    tile: Tile
    in_blocks: bool

    @cached_property
    def launches(self) -> tuple[tuple[Stages, int], ...]:
        """The launches of one forward and the layer that each is for."""
        return _launches_in_blocks(self.tile) if self.in_blocks else _fused_launches(self.tile)


def plan_for(
    config: ModelConfig, precision: str, batch: int, programs: int = 1, capability: tuple[int, int] = FUSED_CAPABILITY
) -> Plan:
    """The plan for `batch` windows on a card of a compute capability.

    Short windows are grouped once there are as many groups as the card runs at once (`programs`).
    """
    alone = Tile.of_network(config, precision)
    windows = max(_GROUPED_ROWS // alone.token_slot, 1)
    # Four-byte operands of a group take too many registers and, in three TF32 parts, too much shared memory.
    grouped = batch >= programs * windows and alone.half
    tile = Tile.of_network(config, precision, windows=windows) if grouped else alone
    fused = fits(tile) and capability == FUSED_CAPABILITY
    if fused and (precision != "strict" or tile.largest <= _WHOLE_STRICT):
        return Plan(tile, in_blocks=False)
    return Plan(alone, in_blocks=True)


def fits(tile: Tile) -> bool:
    """Whether one program can hold a window. Otherwise windows go in blocks."""
    return tile.rows <= _MOST_ROWS and tile.largest <= _LARGEST_TILE


def _fused_launches(tile: Tile) -> tuple[tuple[Stages, int], ...]:
    """The more registers a tile takes, the more parts a layer is cut into, so that none spills."""
    size = tile.largest * (2 if tile.precision == "strict" else 1)
    if size <= _WHOLE_STACK:
        return ((Stages(embed=True, all_layers=True, finish=True), 0),)
    # A window of few tokens and many channels (jhmdb by itself) has large energies but little beside them.
    few = tile.rows * tile.padded_channels <= _WHOLE_STACK
    whole = tile.windows == 1 and (few or size <= _WHOLE_LAYER)
    # Beside the embedding of a group, the channel branch would spill.
    apart = tile.windows > 1 and not whole
    launches = [(Stages(embed=True), 0)] if apart else []
    for i in range(tile.layers):
        first, last = i == 0 and not apart, i == tile.layers - 1
        if whole:
            parts = [Stages(embed=first, channel=True, mix=True, feed_forward=True, finish=last)]
        elif tile.half:
            parts = [Stages(embed=first, channel=True), Stages(mix=True, feed_forward=True, finish=last)]
        else:
            parts = [Stages(embed=first, channel=True), Stages(mix=True), Stages(feed_forward=True, finish=last)]
        launches += [(stages, i) for stages in parts]
    return tuple(launches)


def _launches_in_blocks(tile: Tile) -> tuple[tuple[Stages, int], ...]:
    layer = (Stages(channel=True), Stages(token=True), Stages(mix=True), Stages(feed_forward=True))
    layers = ((stages, i) for i in range(tile.layers) for stages in layer)
    return ((Stages(embed=True), 0), *layers, (Stages(finish=True), 0))

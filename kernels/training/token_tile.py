"""TokenTile: what a program holds where tokens do not meet: tokens of whichever windows. Neither torch nor Triton."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace

from mixsynth_stream.kernels.training.tile import TrainingTile

# Rows and hidden numbers at once with operands of two bytes; half of each with those of four.
_ROWS = 64
_NUMBERS = 32
# Rows of four-byte operands with more channels would spill, if both sides of a product held them whole.
_FEW_CHANNELS = 128
# Numbers of all rows: so many leave room in registers for the several matrices of this size that the backward holds.
_LARGEST = 64 * 128


@dataclass(frozen=True, kw_only=True)
class TokenTile:
    """All that a kernel is compiled for, by the names of a `Tile`. To the pieces each token is a window of its own."""

    precision: str
    rows: int
    windows: int
    channels: int
    padded_channels: int
    channel_block: int
    hidden: int
    padded_hidden: int
    hidden_block: int
    wide: bool  # whether rows are so long that products read them a block of channels at a time
    num_warps: int
    at: SimpleNamespace = field(hash=False)
    tokens: int = 1
    token_slot: int = 1


@lru_cache(maxsize=64)
def token_tile(tile: TrainingTile) -> TokenTile:
    """The tile for the tokens of a layer's windows."""
    rows = min(_ROWS, _LARGEST // tile.padded_channels)
    # tl.dot takes no fewer rows than 16.
    rows = max(rows if tile.half else rows // 2, 16)
    return TokenTile(
        precision=tile.precision,
        rows=rows,
        windows=rows,
        channels=tile.channels,
        padded_channels=tile.padded_channels,
        channel_block=tile.channel_block,
        hidden=tile.hidden,
        padded_hidden=tile.padded_hidden,
        hidden_block=min(tile.hidden_block, _NUMBERS if tile.half else _NUMBERS // 2),
        wide=not tile.half and tile.padded_channels > _FEW_CHANNELS,
        num_warps=8 if rows * tile.padded_channels > (64 * 64 if tile.half else 32 * 64) else 4,
        at=tile.at,
    )

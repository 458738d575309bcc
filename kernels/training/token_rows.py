"""How training kernels that work on each token by itself lay tokens out. No torch and no Triton in here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from mixsynth_stream.kernels.tile import Tile

_THIS_CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
# Rows and hidden numbers at once with operands of two bytes; half of each with those of four.
_ROWS = 64
_NUMBERS = 32
# Rows of operands of four bytes that are longer than this, whole on both sides of a product, would spill.
_FEW_CHANNELS = 128
# What a row of as many channels leaves room for in registers, where the backward holds several matrices of the size.
_LARGEST = 64 * 128


@dataclass(frozen=True)
class TokenRows:
    """Tokens of whichever windows; to the pieces of `pieces.py` each of them is a window of its own."""

    tile: Tile
    rows: int
    tokens: int = 1
    token_slot: int = 1

    @property
    def cache_key(self) -> str:
        """As that of a `Tile`."""
        return f"{self.rows} {self.tile.cache_key} {_THIS_CODE}"

    @property
    def windows(self) -> int:
        return self.rows

    @property
    def at(self) -> SimpleNamespace:
        return self.tile.at

    @property
    def precision(self) -> str:
        return self.tile.precision

    @property
    def channels(self) -> int:
        return self.tile.channels

    @property
    def padded_channels(self) -> int:
        return self.tile.padded_channels

    @property
    def channel_block(self) -> int:
        return self.tile.channel_block

    @property
    def hidden(self) -> int:
        return self.tile.hidden

    @property
    def padded_hidden(self) -> int:
        return self.tile.padded_hidden

    @property
    def hidden_block(self) -> int:
        """Hidden numbers that are in registers at once."""
        return min(self.tile.hidden_block, _NUMBERS if self.tile.half else _NUMBERS // 2)

    @property
    def wide(self) -> bool:
        """Whether rows are so long that products read them a block of channels at a time."""
        return not self.tile.half and self.padded_channels > _FEW_CHANNELS

    @property
    def num_warps(self) -> int:
        return 8 if self.rows * self.padded_channels > (64 * 64 if self.tile.half else 32 * 64) else 4


def token_rows(tile: Tile) -> TokenRows:
    rows = min(_ROWS, _LARGEST // tile.padded_channels)
    # tl.dot takes no fewer rows than 16.
    return TokenRows(tile, max(rows if tile.half else rows // 2, 16))

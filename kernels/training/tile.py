"""TrainingTile: what a program holds of a window in training. TokenTile: the same of tokens, each computed by itself.

No torch and no Triton in here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import SimpleNamespace

from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.plan import fits
from mixsynth_stream.kernels.tile import Tile

# A program holds three matrices of the tokens' energies: beyond these it spills, or finds no shared memory.
_MOST_ENERGIES = 64 * 64
_MOST_ROWS = 128
# Keys of a row that a program can hold in large windows: tl.dot takes no fewer than 16 such rows.
_MOST_KEYS = 512
_MOST_CHANNELS = 256
# The rows of a TokenTile, and its hidden numbers at once, with two-byte operands. Four-byte operands have half of each.
_TOKENS = 64
_HIDDEN = 32
# Rows of four-byte operands with more channels would spill, if both sides of a product held them whole.
_FEW_CHANNELS = 128
# Numbers of all rows: so many leave room in registers for the several matrices of this size that the backward holds.
_MOST_NUMBERS = 64 * 128


@dataclass(frozen=True, kw_only=True)
class TrainingTile(Tile):
    """A window of one layer by itself. Kernels hold a block of its channels, tokens or keys at a time."""

    @cached_property
    def channel_block(self) -> int:
        """Channels of a window at once."""
        return min(self.padded_channels, 32 if self.half or self.rows <= 32 else 16)

    @cached_property
    def row_block(self) -> int:
        """Tokens of a window at once, where a kernel works along time."""
        return min(self.rows, 32)

    @cached_property
    def key_block(self) -> int:
        """Channel keys that are read back at once."""
        return self.padded_channel_keys if self.half else min(self.padded_channel_keys, 32)

    @cached_property
    def large(self) -> bool:
        """Whether no program can hold a window. Then torch's library makes the branches' products."""
        energies = self.rows * self.padded_token_keys
        return not (fits(self) and self.rows <= _MOST_ROWS and energies <= _MOST_ENERGIES)

    def check_fits(self) -> None:
        """Raises `BackendUnavailableError` where a program cannot hold a row of channels, or of a branch's energies."""
        keys = max(self.token_keys, self.channel_keys)
        if self.large and (keys > _MOST_KEYS or self.channels > _MOST_CHANNELS):
            raise BackendUnavailableError(
                f"training on the kernels takes at most {_MOST_CHANNELS} channels and {_MOST_KEYS} keys a branch where "
                f"one program cannot hold a window, found {self.channels} and {keys}; train without them"
            )


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
    rows = min(_TOKENS, _MOST_NUMBERS // tile.padded_channels)
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
        hidden_block=min(tile.hidden_block, _HIDDEN if tile.half else _HIDDEN // 2),
        wide=not tile.half and tile.padded_channels > _FEW_CHANNELS,
        num_warps=8 if rows * tile.padded_channels > (64 * 64 if tile.half else 32 * 64) else 4,
        at=tile.at,
    )

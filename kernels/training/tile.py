"""TrainingTile: a layer's window in training, and which layers the kernels train. No torch and no Triton in here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.plan import fits
from mixsynth_stream.kernels.tile import Tile

# A program holds three matrices of the tokens' energies: beyond these it spills, or finds no shared memory.
_MOST_ENERGIES = 64 * 64
_MOST_ROWS = 128
# Keys of a row that a program can hold in large windows: tl.dot takes no fewer than 16 such rows.
_MOST_KEYS = 512
_MOST_CHANNELS = 256


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

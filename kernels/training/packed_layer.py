"""PackedLayer: a layer's packed weights on their device, and launches of kernels on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixsynth_stream.kernels.card import launch_options
from mixsynth_stream.kernels.training.tile import TokenTile, TrainingTile, token_tile


@dataclass(frozen=True)
class PackedLayer:
    """The weights of one layer as `pack_layer` gives them, and how programs hold its windows."""

    tile: TrainingTile
    matrices: Tensor  # operands
    vectors: Tensor  # float32

    @property
    def packed(self) -> tuple[Tensor, Tensor]:
        return self.matrices, self.vectors

    @property
    def operand(self) -> torch.dtype:
        """The type of what products take."""
        return self.matrices.dtype

    @property
    def token_tile(self) -> TokenTile:
        return token_tile(self.tile)

    def matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """A packed matrix without its padding."""
        padded = self.tile.matrices[name]
        packed = self.matrices[getattr(self.tile.at, name) :][: padded[0] * padded[1]]
        return packed.view(padded)[:rows, :columns]

    def vector(self, name: str, length: int) -> Tensor:
        """A packed vector without its padding."""
        return self.vectors[getattr(self.tile.at, name) :][:length]

    def new_rows(self, x: Tensor, width: int) -> Tensor:  # [B, T, width]
        """Memory for operands, a row a token of x."""
        return x.new_empty(*x.shape[:2], width, dtype=self.operand)

    def new_keys(self, x: Tensor, keys: int) -> Tensor:  # [keys, B, C]
        """Memory for operands, a row a channel of x, with the keys outermost."""
        return x.new_empty(keys, len(x), x.shape[2], dtype=self.operand)

    def token_programs(self, windows: int) -> int:
        """How many programs the tokens of `windows` windows take."""
        return -(-windows * self.tile.tokens // self.token_tile.rows)

    def launch(self, kernel: Any, x: Tensor, *arguments: object, **flags: int) -> None:
        """Launch a kernel whose programs hold one window of x each."""
        self._launch(kernel, self.tile, len(x), x, *arguments, len(x), **flags)

    def launch_tokens(self, kernel: Any, x: Tensor, *arguments: object, **flags: int) -> None:
        """Launch a kernel whose programs hold a block of tokens of x each, wherever windows end."""
        self._launch(
            kernel, self.token_tile, self.token_programs(len(x)), x, *arguments, len(x) * self.tile.tokens, **flags
        )

    def _launch(
        self, kernel: Any, tile: TrainingTile | TokenTile, programs: int, *arguments: object, **flags: int
    ) -> None:
        kernel[(programs,)](*arguments, tile=tile, **flags, **launch_options(tile.num_warps))

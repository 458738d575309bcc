"""Ops: each op of the forward by itself, on whole tensors in float32. Tests and benchmarks call these.

`inference.encoder.Encoder` is what runs the network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixsynth_stream.kernels.feed_forward import feed_forward_fwd_kernel
from mixsynth_stream.kernels.pack import double, pack_layer
from mixsynth_stream.kernels.synth_attention import synth_attention_fwd_kernel
from mixsynth_stream.kernels.synth_mix import synth_mix_fwd_kernel
from mixsynth_stream.kernels.tile import Tile
from mixsynth_stream.kernels.weights import LayerWeights


class Ops:
    """The ops of one layer, whose weights are packed once, on their device, with `windows` in each program.

    Each takes x [B, T, C], contiguous and float32, and raises `ValueError` on another.
    """

    def __init__(self, layer: LayerWeights, *, precision: str, windows: int = 1) -> None:
        self._tile = Tile.of_layer(layer, precision, windows=windows)
        device = layer.mix.proj_weight.device
        self._packed = [packed.to(device) for packed in pack_layer(double(layer), self._tile)]

    def synth_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, C] each
        """The token branch and the channel branch."""
        token, channel = torch.empty_like(x), torch.empty_like(x)
        self._launch(synth_attention_fwd_kernel, x, token, channel)
        return token, channel

    def synth_mix(self, x: Tensor, *, norm: bool = False) -> Tensor:  # [B, T, C]
        """Both branches, weighted and projected; with `norm`, LayerNorm(x + that)."""
        out = torch.empty_like(x)
        self._launch(synth_mix_fwd_kernel, x, out, NORM=norm)
        return out

    def feed_forward(self, x: Tensor) -> Tensor:  # [B, T, C]
        """LayerNorm(x + Linear(GELU(Linear(x))))."""
        out = torch.empty_like(x)
        self._launch(feed_forward_fwd_kernel, x, out)
        return out

    def _launch(self, kernel: Any, x: Tensor, *outputs: Tensor, **flags: bool) -> None:
        tile = self._tile
        if x.ndim != 3 or x.dtype != torch.float32 or not x.is_contiguous():
            raise ValueError(f"x must be a contiguous float32 tensor [B, T, C], found {x.dtype} {list(x.shape)}")
        if x.shape[1:] != (tile.tokens, tile.channels):
            raise ValueError(
                f"x must have {tile.tokens} tokens of {tile.channels} channels as the weights do, found {list(x.shape)}"
            )
        kernel[(-(-len(x) // tile.windows),)](
            x, *outputs, *self._packed, len(x), tile=tile, **flags, num_warps=tile.num_warps, num_stages=1
        )

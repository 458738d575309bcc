"""Each op by itself, on whole tensors, in float32 with products in a given precision: what the kernels are tested as.

They pack their weights in every call. `inference.Encoder` packs once and is what runs the network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mixsynth_stream.kernels.feed_forward import feed_forward_fwd_kernel
from mixsynth_stream.kernels.pack import pack
from mixsynth_stream.kernels.synth_attention import synth_attention_fwd_kernel
from mixsynth_stream.kernels.synth_mix import synth_mix_fwd_kernel
from mixsynth_stream.kernels.tile import Tile
from mixsynth_stream.kernels.weights import EncoderWeights, LayerWeights


def synth_attention(
    x: Tensor,  # [B, T, C] float32
    layer: LayerWeights,
    *,
    precision: str,
    windows: int = 1,
) -> tuple[Tensor, Tensor]:  # [B, T, C] each
    """What the tokens and what the channels synthesise, `windows` of the batch in each program."""
    tile, matrices, vectors = _packed(x, layer, precision, windows)
    token, channel = torch.empty_like(x), torch.empty_like(x)
    synth_attention_fwd_kernel[_grid(x, tile)](
        x, token, channel, matrices, vectors, len(x), tile, num_warps=tile.num_warps, num_stages=1
    )
    return token, channel


def synth_mix(
    x: Tensor,  # [B, T, C] float32
    layer: LayerWeights,
    *,
    precision: str,
    windows: int = 1,
    norm: bool = False,
) -> Tensor:  # [B, T, C]
    """Both branches, re-weighted and projected; with `norm`, LayerNorm(x + that)."""
    tile, matrices, vectors = _packed(x, layer, precision, windows)
    out = torch.empty_like(x)
    synth_mix_fwd_kernel[_grid(x, tile)](
        x, out, matrices, vectors, len(x), tile, norm, num_warps=tile.num_warps, num_stages=1
    )
    return out


def feed_forward(
    x: Tensor,  # [B, T, C] float32
    layer: LayerWeights,
    *,
    precision: str,
    windows: int = 1,
) -> Tensor:  # [B, T, C]
    """LayerNorm(x + Linear(GELU(Linear(x))))."""
    tile, matrices, vectors = _packed(x, layer, precision, windows)
    out = torch.empty_like(x)
    feed_forward_fwd_kernel[_grid(x, tile)](
        x, out, matrices, vectors, len(x), tile, num_warps=tile.num_warps, num_stages=1
    )
    return out


def _grid(x: Tensor, tile: Tile) -> tuple[int]:
    return (-(-len(x) // tile.windows),)


def _packed(x: Tensor, layer: LayerWeights, precision: str, windows: int) -> tuple[Tile, Tensor, Tensor]:
    if x.ndim != 3 or x.dtype != torch.float32 or not x.is_contiguous():
        raise ValueError(f"x must be a contiguous float32 tensor [B, T, C], found {x.dtype} {list(x.shape)}")
    tokens, channels = layer.mix.fc1_weight.shape[1], layer.mix.proj_weight.shape[0]
    if x.shape[1:] != (tokens, channels):
        raise ValueError(f"x must have {tokens} tokens of {channels} channels as the weights do, found {list(x.shape)}")
    tile = Tile(
        tokens=tokens,
        channels=channels,
        numbers=1,
        keyframes=1,
        layers=1,
        token_keys=len(layer.mix.token.dense_bias),
        channel_keys=len(layer.mix.channel.dense_bias),
        hidden=len(layer.feed_forward.fc1_bias),
        windows=windows,
        precision=precision,
    )
    # A network of this one layer, whose ends are not used.
    ends = {
        "interp_weight": (tokens, 1),
        "interp_bias": (tokens,),
        "emb_weight": (channels, 1),
        "emb_bias": (channels,),
    }
    zeros = {name: x.new_zeros(shape) for name, shape in ends.items()}
    network = EncoderWeights(
        **zeros, layers=(layer,), norm=layer.norm, fc_weight=x.new_zeros((1, channels)), fc_bias=x.new_zeros(1)
    )
    matrices, vectors = pack(network, tile)
    return tile, matrices.to(x.device), vectors.to(x.device)

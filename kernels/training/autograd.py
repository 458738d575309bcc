"""Autograd through the kernels: each encoder layer is one op of torch that saves its input and nothing else.

The op is registered with shapes for `torch.compile` and a gradient, so autograd, autocast and compile know it. The ends
of the network, and the interpolation that is most of the result, stay in torch and in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.card import INTERPRETED, check_capability, find_device
from mixsynth_stream.kernels.pack import OPERANDS, pack_layer
from mixsynth_stream.kernels.training.encoder_layer import EncoderLayer
from mixsynth_stream.kernels.training.library_products import library_precision
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.tile import TrainingTile
from mixsynth_stream.kernels.weights import (
    EncoderWeights,
    FeedForwardWeights,
    LayerWeights,
    NormWeights,
    SynthAttentionWeights,
    SynthMixWeights,
)
from mixsynth_stream.network import MixSynthFormer


def encode(
    network: MixSynthFormer,
    keyframes: Tensor,  # [B, Q+1, D]
    *,
    precision: str,
    seed: int | None = None,
) -> Tensor:  # [B, T, D]
    """`network(keyframes)` with its layers on the kernels, and gradients for keyframes and every parameter.

    Dropout as the network has it, where it is in training; `seed` decides it, or torch's random numbers.
    Raises `BackendUnavailableError` where the kernels cannot run.
    """
    interpolated = network.l_interp(keyframes.transpose(1, 2)).transpose(1, 2)
    x = encode_layers(network, network.encoder_emb(interpolated), precision=precision, seed=seed)
    motion: Tensor = network.fc(network.norm(x)) + interpolated
    return motion


def encode_layers(
    network: MixSynthFormer,
    x: Tensor,  # [B, T, C]
    *,
    precision: str,
    seed: int | None = None,
) -> Tensor:  # [B, T, C]
    """`network.encoder(x)` on the kernels; see `encode`."""
    layers = EncoderWeights.of(dict(network.named_parameters())).layers
    share = _dropout(network)
    if seed is None:
        seeds = torch.randint(2**62, (len(layers),), device=x.device)
    else:
        seeds = torch.randint(2**62, (len(layers),), generator=torch.Generator().manual_seed(seed)).to(x.device)
    x = x.float().contiguous()
    for i, layer in enumerate(layers):
        x = encoder_layer_op(x, _flat(layer), seeds[i : i + 1], share, precision)[0]
    return x


def use_kernels(network: MixSynthFormer, precision: str) -> None:
    """From now on the network's layers run on the kernels. Raises `BackendUnavailableError` where they cannot."""
    find_device()
    TrainingTile.of_layer(network.config, precision).check_fits()

    def forward(x: Tensor) -> Tensor:
        return encode_layers(network, x, precision=precision)

    network.encoder.forward = forward  # type: ignore[method-assign]


def _dropout(network: MixSynthFormer) -> float:
    return float(network.encoder.layers[0].ff.dropout.p) if network.training else 0.0  # type: ignore[union-attr, arg-type]


# The schema is written out, because some versions of torch do not infer it from list[Tensor].
@torch.library.custom_op(
    "mixsynth_stream::encoder_layer",
    mutates_args=(),
    schema="(Tensor x, Tensor[] weights, Tensor seed, float share, str precision) -> (Tensor, Tensor, Tensor)",
)
def encoder_layer_op(
    x: Tensor,  # [B, T, C] float32
    weights: list[Tensor],
    seed: Tensor,  # [1] int64
    share: float,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The layer's output, and its packed weights for the way back."""
    layer = _layer(weights)
    tile = TrainingTile.of_layer(layer, precision)
    _check(x, tile)
    # Whatever autocast is in force, products of operands stay in the named precision; backwards too. Triton launches on
    # the current device, wherever the tensors are.
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x), library_precision(precision):
        packed = pack_layer(layer, tile)
        return EncoderLayer(PackedLayer(tile, *packed), seed, share)(x), *packed


@encoder_layer_op.register_fake
def _(x: Tensor, weights: list[Tensor], seed: Tensor, share: float, precision: str) -> tuple[Tensor, Tensor, Tensor]:
    at = TrainingTile.of_layer(_layer(weights), precision).at
    matrices = x.new_empty(at.matrix_stride, dtype=OPERANDS[precision])
    return torch.empty_like(x), matrices, x.new_empty(at.vector_stride)


@torch.library.custom_op(
    "mixsynth_stream::encoder_layer_bwd",
    mutates_args=(),
    schema="(Tensor x, Tensor d_out, Tensor[] weights, Tensor matrices, Tensor vectors, Tensor seed, float share, "
    "str precision) -> Tensor[]",
)
def encoder_layer_bwd_op(
    x: Tensor,  # [B, T, C] float32
    d_out: Tensor,  # [B, T, C] float32
    weights: list[Tensor],
    matrices: Tensor,
    vectors: Tensor,
    seed: Tensor,  # [1] int64
    share: float,
    precision: str,
) -> list[Tensor]:
    """Gradients of x and of every weight, in the order of `weights`; unused weights have zeros."""
    layer = _layer(weights)
    if not len(x):
        return [torch.zeros_like(tensor) for tensor in (x, *weights)]
    packed = PackedLayer(TrainingTile.of_layer(layer, precision), matrices, vectors)
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x), library_precision(precision):
        d_x, d_layer = EncoderLayer(packed, seed, share).backward(x, d_out.float().contiguous())
    gradients = zip(_flat(d_layer), weights, strict=True)
    return [d_x, *(d.to(weight.dtype) if d.numel() else torch.zeros_like(weight) for d, weight in gradients)]


@encoder_layer_bwd_op.register_fake
def _(x: Tensor, d_out: Tensor, weights: list[Tensor], *_: Any) -> list[Tensor]:
    return [torch.empty_like(x), *(torch.empty_like(weight) for weight in weights)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weights, seed, ctx.share, ctx.precision = inputs
    ctx.save_for_backward(x, seed, *output[1:], *weights)


def _backward(ctx: Any, d_out: Tensor, *_: Tensor | None) -> tuple[Any, ...]:
    x, seed, matrices, vectors, *weights = ctx.saved_tensors
    d_x, *d_weights = encoder_layer_bwd_op(x, d_out, weights, matrices, vectors, seed, ctx.share, ctx.precision)
    return d_x, d_weights, None, None, None


encoder_layer_op.register_autograd(_backward, setup_context=_save)


def _check(x: Tensor, tile: TrainingTile) -> None:
    """Refuses what kernels would read out of bounds, and what Triton would refuse in words of its own."""
    if x.device.type == "cpu" and not INTERPRETED:
        raise BackendUnavailableError(
            "the kernels train on a CUDA device, found a tensor on the CPU; set TRITON_INTERPRET=1 before the start to "
            "run them slowly there"
        )
    if x.device.type == "cuda":
        check_capability(torch.cuda.get_device_capability(x.device))
    tile.check_fits()
    if x.ndim != 3 or x.shape[1:] != (tile.tokens, tile.channels):
        raise ValueError(f"x must have shape [batch, {tile.tokens}, {tile.channels}], found {list(x.shape)}")
    if x.dtype != torch.float32 or not x.is_contiguous():
        raise ValueError(f"x must be contiguous and float32, found strides {x.stride()} and {x.dtype}")


def _flat(layer: LayerWeights) -> list[Tensor]:
    """The tensors of a layer in order. Unused value matrices have no gradient, as in the plain network."""
    mix, ff = layer.mix, layer.feed_forward
    branches = []
    for branch in (mix.token, mix.channel):
        value = (branch.value_weight, branch.value_bias)
        branches += [*branch[:4], *(value if branch.reduced else (tensor.detach() for tensor in value))]
    return [*branches, *mix[2:], *layer.norm, *ff[:4], *ff.norm]


def _layer(tensors: list[Tensor]) -> LayerWeights:
    token, channel = SynthAttentionWeights(*tensors[:6]), SynthAttentionWeights(*tensors[6:12])
    mix = SynthMixWeights(token, channel, *tensors[12:18])
    fc1_weight, fc1_bias, fc2_weight, fc2_bias = tensors[20:24]
    feed_forward = FeedForwardWeights(fc1_weight, fc1_bias, fc2_weight, fc2_bias, NormWeights(*tensors[24:]))
    return LayerWeights(mix, NormWeights(*tensors[18:20]), feed_forward)

"""Weights of a state dict, once, into the padded layout that the fused encoder reads without masks.

What has a name in `Tile.matrices` and its siblings has a tensor here, of the same name and shape.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mixsynth_stream.kernels.tile import Tile
from mixsynth_stream.kernels.weights import EncoderWeights, LayerWeights, NormWeights, SynthAttentionWeights

OPERANDS = {"strict": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pack(weights: EncoderWeights, tile: Tile) -> tuple[Tensor, Tensor]:
    """(matrices in the operands' type, vectors in float32), each one long row of numbers, on the CPU."""
    weights = _double(weights)
    at = tile.at
    matrices = torch.zeros(at.matrix_size, dtype=torch.float64)
    vectors = torch.zeros(at.vector_size, dtype=torch.float64)
    for i, layer in enumerate(weights.layers):
        _put(matrices[i * at.matrix_stride :], at, tile.matrices, _layer_matrices(layer, tile))
        _put(vectors[i * at.vector_stride :], at, tile.vectors, _layer_vectors(layer, tile))
    _put(matrices, at, tile.outer_matrices, {"emb": weights.emb_weight.T, "fc": weights.fc_weight.T})
    _put(vectors, at, tile.outer_vectors, _outer_vectors(weights, tile))
    return matrices.to(OPERANDS[tile.precision]), vectors.float()


def pack_layer(layer: LayerWeights, tile: Tile) -> tuple[Tensor, Tensor]:
    """One layer, where its weights are and without leaving float32, for those who pack in every step of training."""
    weight, at = layer.mix.proj_weight.detach(), tile.at
    matrices, vectors = weight.new_zeros(at.matrix_stride), weight.new_zeros(at.vector_stride)
    with torch.no_grad():
        _put(matrices, at, tile.matrices, _layer_matrices(layer, tile))
        _put(vectors, at, tile.vectors, _layer_vectors(layer, tile))
    return matrices.to(OPERANDS[tile.precision]), vectors.float()


def _double(weights: EncoderWeights) -> EncoderWeights:
    def double(value: object) -> object:
        if isinstance(value, Tensor):
            return value.detach().to("cpu", torch.float64)
        return type(value)(*map(double, value)) if hasattr(value, "_fields") else tuple(map(double, value))  # type: ignore[call-overload]

    return double(weights)  # type: ignore[return-value]


def _put(into: Tensor, at: object, shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> None:
    for name, shape in shapes.items():
        start = getattr(at, name)
        place = into[start : start + torch.Size(shape).numel()].view(shape)
        value = found[name]
        place[tuple(slice(length) for length in value.shape)] = value


def _layer_matrices(layer: LayerWeights, tile: Tile) -> dict[str, Tensor]:
    token, channel = layer.mix.token, layer.mix.channel
    difference = layer.mix.fc2_weight[0::2] - layer.mix.fc2_weight[1::2]
    squeezed = (tile.squeezed_slot, tile.token_slot)
    return {
        "token_dense": _repeated(token.dense_weight, tile.token_key_slot, tile).T,
        "channel_dense": _repeated(channel.dense_weight.T, tile.token_slot, tile).T,
        "token_value": _diagonal(token.value_weight, (tile.token_key_slot, tile.token_slot), tile),
        "channel_value": channel.value_weight.T,
        "token_squeeze": _diagonal(token.squeeze_weight, squeezed, tile),
        "token_excite": _diagonal(token.excite_weight, squeezed[::-1], tile),
        "channel_squeeze": channel.squeeze_weight,
        "channel_excite": channel.excite_weight,
        "reweight_fc1": _diagonal(layer.mix.fc1_weight, squeezed, tile),
        "reweight_fc2": _diagonal(difference, squeezed[::-1], tile),
        "proj": layer.mix.proj_weight.T,
        "fc1": layer.feed_forward.fc1_weight.T,
        "fc2": layer.feed_forward.fc2_weight.T,
    }


def _layer_vectors(layer: LayerWeights, tile: Tile) -> dict[str, Tensor]:
    token, channel, mix, ff = layer.mix.token, layer.mix.channel, layer.mix, layer.feed_forward
    return {
        **_pooled("token", token),
        **_pooled("channel", channel),
        "token_dense_bias": _repeated(token.dense_bias, tile.token_key_slot, tile),
        "token_value_bias": _repeated(token.value_bias, tile.token_key_slot, tile),
        "channel_pool": _repeated(channel.dense_weight.mean(0), tile.token_slot, tile),
        "channel_dense_bias": channel.dense_bias,
        "channel_value_bias": channel.value_bias,
        "reweight_fc1_bias": _repeated(mix.fc1_bias, tile.squeezed_slot, tile),
        "reweight_fc2_bias": _repeated(mix.fc2_bias[0::2] - mix.fc2_bias[1::2], tile.token_slot, tile),
        "proj_bias": mix.proj_bias,
        **_normed("norm1", layer.norm),
        "fc1_bias": ff.fc1_bias,
        "fc2_bias": ff.fc2_bias,
        **_normed("norm2", ff.norm),
    }


def _outer_vectors(weights: EncoderWeights, tile: Tile) -> dict[str, Tensor]:
    return {
        "interp": _diagonal(weights.interp_weight, (tile.token_slot, tile.keyframe_slot), tile),
        "interp_bias": _repeated(weights.interp_bias, tile.token_slot, tile),
        "emb_sum": weights.emb_weight.sum(1),
        "emb_bias": weights.emb_bias,
        **_normed("norm", weights.norm),
        "fc_bias": weights.fc_bias,
    }


def _pooled(name: str, branch: SynthAttentionWeights) -> dict[str, Tensor]:
    return {f"{name}_pool": branch.dense_weight.mean(0), f"{name}_pool_bias": branch.dense_bias.mean().view(1)}


def _normed(name: str, norm: NormWeights) -> dict[str, Tensor]:
    return {f"{name}_weight": norm.weight, f"{name}_bias": norm.bias}


def _repeated(
    value: Tensor,  # [n, ...]
    slot: int,
    tile: Tile,
) -> Tensor:  # [windows * slot, ...]
    """One copy a window."""
    out = value.new_zeros((tile.windows, slot, *value.shape[1:]))
    out[:, : len(value)] = value
    return out.flatten(0, 1)


def _diagonal(
    value: Tensor,  # [n, m]
    slot: tuple[int, int],
    tile: Tile,
) -> Tensor:  # [windows * slot[0], windows * slot[1]]
    """One copy a window, on the diagonal: no window sees another."""
    out = value.new_zeros((tile.windows, slot[0], tile.windows, slot[1]))
    for window in range(tile.windows):
        out[window, : value.shape[0], window, : value.shape[1]] = value
    return out.flatten(2, 3).flatten(0, 1)

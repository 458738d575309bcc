"""Pack: weights of a state dict, once, in the padded layout that the kernels read without masks.

Each name in `Tile.matrices` and its siblings has a part here. An index, made once, says which number of the parts
stands where. So packing is one gather for the matrices and one for the vectors: training packs every layer in every
step, where a launch costs more than the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from mixsynth_stream.kernels.tile import Tile
from mixsynth_stream.kernels.weights import EncoderWeights, LayerWeights, NormWeights, SynthAttentionWeights

Weights = TypeVar("Weights", EncoderWeights, LayerWeights)

# The type of what products take, by precision.
OPERANDS = {"strict": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pack(weights: EncoderWeights, tile: Tile) -> tuple[Tensor, Tensor]:
    """(matrices in the operands' type, vectors in float32), each one long row of numbers, on the CPU."""
    weights = double(weights)
    parts = [*map(_layer_parts, weights.layers), _outer_parts(weights)]
    matrices, vectors = (torch.cat(rows) for rows in zip(*(_packed(part, tile) for part in parts), strict=True))
    return matrices.to(OPERANDS[tile.precision]), vectors.float()


def pack_layer(layer: LayerWeights, tile: Tile) -> tuple[Tensor, Tensor]:
    """One layer, on the device and in the type of its weights, as training packs it in every step."""
    with torch.no_grad():
        matrices, vectors = _packed(_layer_parts(layer), tile)
    return matrices.to(OPERANDS[tile.precision]), vectors.float()


def double(weights: Weights) -> Weights:
    """The same weights in float64 on the CPU, for arithmetic before they are rounded."""

    def of(value: object) -> object:
        if isinstance(value, Tensor):
            return value.detach().to("cpu", torch.float64)
        return type(value)(*map(of, value)) if hasattr(value, "_fields") else tuple(map(of, value))  # type: ignore[call-overload]

    return of(weights)  # type: ignore[return-value]


def _packed(parts: Mapping[str, Tensor], tile: Tile) -> tuple[Tensor, Tensor]:
    """Matrices and vectors of one layer, or of the ends of the network."""
    first = next(iter(parts.values()))
    matrices, vectors = _index(tuple((name, part.shape) for name, part in parts.items()), tile, first.device)
    numbers = torch.cat([first.new_zeros(1), *(part.flatten() for part in parts.values())])
    return numbers[matrices], numbers[vectors]


@lru_cache(maxsize=64)
def _index(
    shapes: tuple[tuple[str, torch.Size], ...], tile: Tile, device: torch.device
) -> tuple[Tensor, Tensor]:  # int64
    """Which of the parts' numbers stands where, in matrices and vectors. Number 0, before the parts, is padding."""
    parts, start = {}, 1
    for name, shape in shapes:
        parts[name] = torch.arange(start, start + shape.numel()).view(shape)
        start += shape.numel()
    at = tile.at
    shapes_of: list[Mapping[str, tuple[int, ...]]]  # matrices, vectors
    if "emb" in parts:
        placed, shapes_of = _outer_placed(parts, tile), [tile.outer_matrices, tile.outer_vectors]
        ends = (tile.layers * at.matrix_stride, at.matrix_size), (tile.layers * at.vector_stride, at.vector_size)
    else:
        placed, shapes_of = _layer_placed(parts, tile), [tile.matrices, tile.vectors]
        ends = (0, at.matrix_stride), (0, at.vector_stride)
    rows = []
    for sizes, (first, end) in zip(shapes_of, ends, strict=True):
        row = torch.zeros(end - first, dtype=torch.int64)
        for name, size in sizes.items():
            place = row[getattr(at, name) - first :][: torch.Size(size).numel()].view(size)
            place[tuple(slice(length) for length in placed[name].shape)] = placed[name]
        rows.append(row.to(device))
    return rows[0], rows[1]


def _layer_parts(layer: LayerWeights) -> dict[str, Tensor]:
    """Every number that is packed, after the arithmetic that it needs; none is in its place yet."""
    mix, feed_forward = layer.mix, layer.feed_forward
    return {
        **_branch_parts("token", mix.token),
        **_branch_parts("channel", mix.channel),
        "reweight_fc1": mix.fc1_weight,
        "reweight_fc1_bias": mix.fc1_bias,
        "reweight_fc2": mix.fc2_weight[0::2] - mix.fc2_weight[1::2],
        "reweight_fc2_bias": mix.fc2_bias[0::2] - mix.fc2_bias[1::2],
        "proj": mix.proj_weight,
        "proj_bias": mix.proj_bias,
        **_norm_parts("norm1", layer.norm),
        "fc1": feed_forward.fc1_weight,
        "fc1_bias": feed_forward.fc1_bias,
        "fc2": feed_forward.fc2_weight,
        "fc2_bias": feed_forward.fc2_bias,
        **_norm_parts("norm2", feed_forward.norm),
    }


def _outer_parts(weights: EncoderWeights) -> dict[str, Tensor]:
    return {
        "emb": weights.emb_weight,
        "emb_sum": weights.emb_weight.sum(1),
        "emb_bias": weights.emb_bias,
        "interp": weights.interp_weight,
        "interp_bias": weights.interp_bias,
        **_norm_parts("norm", weights.norm),
        "fc": weights.fc_weight,
        "fc_bias": weights.fc_bias,
    }


def _branch_parts(name: str, branch: SynthAttentionWeights) -> dict[str, Tensor]:
    parts = {
        "dense": branch.dense_weight,
        "dense_bias": branch.dense_bias,
        "pool": branch.dense_weight.mean(0),
        "pool_bias": branch.dense_bias.mean().view(1),
        "squeeze": branch.squeeze_weight,
        "excite": branch.excite_weight,
        "value": branch.value_weight,
        "value_bias": branch.value_bias,
    }
    return {f"{name}_{part}": value for part, value in parts.items()}


def _norm_parts(name: str, norm: NormWeights) -> dict[str, Tensor]:
    return {f"{name}_weight": norm.weight, f"{name}_bias": norm.bias}


def _layer_placed(part: dict[str, Tensor], tile: Tile) -> dict[str, Tensor]:
    """Parts as the kernels read them: transposed, and once for each window of a group. The rest stays as it is."""
    squeezed = (tile.squeezed_slot, tile.token_slot)
    return part | {
        "token_dense": _repeated(part["token_dense"], tile.token_key_slot, tile).T,
        "token_dense_bias": _repeated(part["token_dense_bias"], tile.token_key_slot, tile),
        "token_squeeze": _diagonal(part["token_squeeze"], squeezed, tile),
        "token_excite": _diagonal(part["token_excite"], squeezed[::-1], tile),
        "token_value": _diagonal(part["token_value"], (tile.token_key_slot, tile.token_slot), tile),
        "token_value_bias": _repeated(part["token_value_bias"], tile.token_key_slot, tile),
        "channel_dense": _repeated(part["channel_dense"].T, tile.token_slot, tile).T,
        "channel_pool": _repeated(part["channel_pool"], tile.token_slot, tile),
        "channel_value": part["channel_value"].T,
        "reweight_fc1": _diagonal(part["reweight_fc1"], squeezed, tile),
        "reweight_fc1_bias": _repeated(part["reweight_fc1_bias"], tile.squeezed_slot, tile),
        "reweight_fc2": _diagonal(part["reweight_fc2"], squeezed[::-1], tile),
        "reweight_fc2_bias": _repeated(part["reweight_fc2_bias"], tile.token_slot, tile),
        **{name: part[name].T for name in ("proj", "fc1", "fc2")},
    }


def _outer_placed(part: dict[str, Tensor], tile: Tile) -> dict[str, Tensor]:
    return part | {
        "interp": _diagonal(part["interp"], (tile.token_slot, tile.keyframe_slot), tile),
        "interp_bias": _repeated(part["interp_bias"], tile.token_slot, tile),
        **{name: part[name].T for name in ("emb", "fc")},
    }


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

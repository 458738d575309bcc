"""LargeMix: both branches and the mixture's weights in training, of windows that no program can hold.

The library makes the products; the kernels of `large_branch.py` make what lies between them. Vectors of a window, which
are the gates and the mixture's weights, are torch's. Gradients are named as in the maths of `ref.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mixsynth_stream.kernels.training.large_branch import (
    BranchTile,
    branch_tile,
    large_branch,
    large_branch_bwd,
)
from mixsynth_stream.kernels.training.library_products import linear_bwd, linear_bwd_by_keys, reweight_weights_bwd
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.weights import SynthAttentionWeights


class BranchOutput(NamedTuple):
    """A branch, and what its gradient takes."""

    out: Tensor  # [B, n, width] operands
    rows: Tensor  # [B, n, width] operands
    values: Tensor  # [B, m, width] operands, rows themselves or reduced
    pooled: Tensor  # [B, n] float32, mean energies
    squeezed: Tensor  # [B, n/4] float32
    gate: Tensor  # [B, n] float32
    attention: Tensor  # [B, n, m] operands


class MixOutput(NamedTuple):
    """Both branches, their weights, and what the gradient of these takes."""

    t: Tensor  # [B, T, C] float32, the token branch
    c: Tensor  # [B, T, C] float32, the channel branch
    mean: Tensor  # [B, T] float32, of both
    weight: Tensor  # [B, T] float32, a_t
    before: Tensor  # [B, T/4] float32, what the re-weight's GELU takes
    branches: tuple[BranchOutput, BranchOutput]  # of tokens, and of channels


class MixGradients(NamedTuple):
    """Gradients of the weights: of both branches, and of both Linears of the re-weight."""

    token: SynthAttentionWeights
    channel: SynthAttentionWeights
    reweight: tuple[Tensor, Tensor, Tensor, Tensor]


class LargeMix:
    """Both branches of one layer, from its packed weights."""

    def __init__(self, layer: PackedLayer) -> None:
        self._layer, tokens = layer, layer.tile.tokens
        self._fc1 = layer.matrix("reweight_fc1", tokens // 4, tokens).float()
        self._fc2 = layer.matrix("reweight_fc2", tokens, tokens // 4).float()
        self._branches = self._token_branch(), self._channel_branch()

    def __call__(self, x: Tensor) -> MixOutput:  # [B, T, C] float32
        token, channel = self._branches[0](x), self._branches[1](x.mT)
        c = torch.empty_like(x).copy_(channel.out.mT)
        t = token.out.float()
        mean = (t + c).mean(-1)
        before = mean @ self._fc1.T + self._layer.vector("reweight_fc1_bias", len(self._fc1))
        difference = functional.gelu(before) @ self._fc2.T + self._layer.vector("reweight_fc2_bias", len(self._fc2))
        return MixOutput(t, c, mean, difference.sigmoid(), before, (token, channel))

    def backward(
        self,
        x: Tensor,  # [B, T, C] float32
        mix: MixOutput,
        d_t: Tensor,  # [B, T, C] float32, without what comes through the mixture's weights
        d_c: Tensor,  # [B, T, C] float32, likewise
        d_difference: Tensor,  # [B, T] float32
        d_x: Tensor,  # [B, T, C] float32, to which that of the branches is added
    ) -> MixGradients:
        """The gradients that follow from those of both branches and of the difference whose sigmoid is a_t."""
        d_before = torch.ops.aten.gelu_backward(d_difference @ self._fc2, mix.before)
        d_mean = (d_before @ self._fc1 / x.shape[2])[..., None]
        (tokens, channels), (token, channel) = self._branches, mix.branches
        return MixGradients(
            tokens.backward(x, token, d_t + d_mean, d_x),
            channels.backward(x.mT, channel, (d_c + d_mean).mT, d_x.mT),
            reweight_weights_bwd(mix.mean, d_difference, functional.gelu(mix.before), d_before),
        )

    def _token_branch(self) -> _Branch:
        layer, tile = self._layer, self._layer.tile
        dense = layer.matrix("token_dense", tile.channels, tile.token_keys).T
        value = layer.matrix("token_value", tile.token_keys, tile.tokens) if tile.reduces_tokens else None
        return self._branch("token", dense, value)

    def _channel_branch(self) -> _Branch:
        layer, tile = self._layer, self._layer.tile
        dense = layer.matrix("channel_dense", tile.channel_keys, tile.tokens)
        value = layer.matrix("channel_value", tile.channels, tile.channel_keys).T if tile.reduces_channels else None
        return self._branch("channel", dense, value)

    def _branch(self, name: str, dense: Tensor, value: Tensor | None) -> _Branch:
        layer, tile, (keys, width) = self._layer, branch_tile(self._layer.tile, name == "token"), dense.shape
        length = tile.length
        weights = SynthAttentionWeights(
            dense.contiguous(),
            layer.vector(f"{name}_dense_bias", keys),
            layer.matrix(f"{name}_squeeze", length // 4, length).float(),
            layer.matrix(f"{name}_excite", length, length // 4).float(),
            dense.new_empty(0, length) if value is None else value,
            layer.vector(f"{name}_value_bias", 0 if value is None else keys),
        )
        pool = layer.vector(f"{name}_pool", width), layer.vector(f"{name}_pool_bias", 1)
        return _Branch(tile, weights, pool)


class _Branch:
    """One of the two. Its rows are those of x, or of x transposed."""

    def __init__(self, tile: BranchTile, weights: SynthAttentionWeights, pool: tuple[Tensor, Tensor]) -> None:
        self._tile, self._weights, self._pool = tile, weights, pool

    def __call__(self, x: Tensor) -> BranchOutput:  # [B, n, width] float32
        weights = self._weights
        rows = x.to(weights.dense_weight.dtype).contiguous()
        pooled = x @ self._pool[0] + self._pool[1]
        squeezed = (pooled @ weights.squeeze_weight.T).relu()
        gate = (squeezed @ weights.excite_weight.T).sigmoid()
        attention = large_branch(self._tile, rows, *weights[:2], gate)
        values = rows
        if weights.reduced:
            bias = weights.value_bias.to(rows.dtype)[:, None]
            values = torch.baddbmm(bias, weights.value_weight.expand(len(rows), -1, -1), rows)
        return BranchOutput(attention @ values, rows, values, pooled, squeezed, gate, attention)

    def backward(
        self,
        x: Tensor,  # [B, n, width] float32
        branch: BranchOutput,
        d_branch: Tensor,  # [B, n, width] float32
        d_x: Tensor,  # [B, n, width] float32, to which this branch's part is added
    ) -> SynthAttentionWeights:
        """Gradients of the weights."""
        weights, keys = self._weights, self._tile.key_count
        rows, attention, gate = branch.rows, branch.attention, branch.gate
        d_out = d_branch.to(rows.dtype).contiguous()
        d_energies, d_excited = large_branch_bwd(self._tile, rows, *weights[:2], gate, branch.values, d_out)
        d_squeezed = (d_excited @ weights.excite_weight) * (branch.squeezed > 0)
        d_pooled = d_squeezed @ weights.squeeze_weight
        d_x += d_energies @ weights.dense_weight
        # The pool is a mean of energies: through it every key has the same gradient, one product of two vectors.
        d_x.addcmul_(d_pooled[..., None], self._pool[0])
        dense_weight, dense_bias = linear_bwd(rows, d_energies)
        dense_weight = dense_weight + (d_pooled.flatten() @ x.reshape(-1, x.shape[2])) / keys
        dense_bias = dense_bias + d_pooled.sum() / keys
        d_values = attention.mT @ d_out
        value = weights[4:]
        if weights.reduced:
            d_x += weights.value_weight.T @ d_values
            value = linear_bwd_by_keys(d_values.transpose(0, 1), rows.transpose(0, 1).flatten(1))
        else:
            d_x += d_values
        gates = d_squeezed.T @ branch.pooled, d_excited.T @ branch.squeezed
        return SynthAttentionWeights(dense_weight, dense_bias, *gates, *value)

"""Both branches and the mixture's weights in training, of windows that one program cannot hold, on whole tensors.

The library makes the products; the kernels of `large_branch.py` make what lies between them. Vectors of a window, which
are the gates and the mixture's weights, are torch's. Backwards named as in the maths of `ref.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mixsynth_stream.kernels.card import MOST_REGISTERS
from mixsynth_stream.kernels.tile import Tile
from mixsynth_stream.kernels.training.large_branch import (
    BranchRows,
    branch_layout,
    large_branch_bwd_kernel,
    large_branch_fwd_kernel,
)
from mixsynth_stream.kernels.training.library_products import linear_bwd, linear_bwd_by_keys, reweight_bwd
from mixsynth_stream.kernels.weights import SynthAttentionWeights


class Synthesised(NamedTuple):
    """A branch, and what its gradient needs."""

    out: Tensor  # [B, n, width] operands
    rows: Tensor  # [B, n, width] operands
    values: Tensor  # [B, m, width] operands, rows themselves or reduced
    pooled: Tensor  # [B, n] float32, mean energies
    squeezed: Tensor  # [B, n/4] float32
    gate: Tensor  # [B, n] float32
    attention: Tensor  # [B, n, m] operands


class Mixed(NamedTuple):
    """What both branches give, and how they are weighed."""

    token: Tensor  # [B, T, C] float32, of the tokens
    given: Tensor  # [B, T, C] float32, of the channels
    mean: Tensor  # [B, T] float32, of both
    weight: Tensor  # [B, T] float32, of the tokens
    before: Tensor  # [B, T/4] float32, what the re-weight's GELU takes
    branches: tuple[Synthesised, Synthesised]  # of tokens, and of channels


class LargeMix:
    """Both branches of one layer, from its packed weights."""

    def __init__(self, tile: Tile, matrices: Tensor, vectors: Tensor) -> None:
        self._tile, self._matrices, self._vectors = tile, matrices, vectors
        squeezed = tile.tokens // 4
        self._fc1 = self._matrix("reweight_fc1", squeezed, tile.tokens).float()
        self._fc2 = self._matrix("reweight_fc2", tile.tokens, squeezed).float()
        self._branches = self._token_branch(), self._channel_branch()

    def __call__(self, x: Tensor) -> Mixed:  # [B, T, C] float32
        token, channel = self._branches[0](x), self._branches[1](x.mT)
        given = torch.empty_like(x).copy_(channel.out.mT)
        t = token.out.float()
        mean = (t + given).mean(-1)
        before = mean @ self._fc1.T + self._vector("reweight_fc1_bias", len(self._fc1))
        difference = functional.gelu(before) @ self._fc2.T + self._vector("reweight_fc2_bias", len(self._fc2))
        return Mixed(t, given, mean, difference.sigmoid(), before, (token, channel))

    def backward(
        self,
        x: Tensor,  # [B, T, C] float32
        mixed: Mixed,
        d_token: Tensor,  # [B, T, C] float32, without what comes through the mixture's weights
        d_given: Tensor,  # [B, T, C] float32, likewise
        d_difference: Tensor,  # [B, T] float32
        d_x: Tensor,  # [B, T, C] float32, to which that of the branches is added
    ) -> tuple[SynthAttentionWeights, SynthAttentionWeights, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Gradients of the weights: of both branches, and of both Linears of the re-weight."""
        d_before = torch.ops.aten.gelu_backward(d_difference @ self._fc2, mixed.before)
        d_mean = (d_before @ self._fc1 / x.shape[2])[..., None]
        (tokens, channels), (token, channel) = self._branches, mixed.branches
        d_tokens = tokens.backward(x, token, d_token + d_mean, d_x)
        d_channels = channels.backward(x.mT, channel, (d_given + d_mean).mT, d_x.mT)
        return d_tokens, d_channels, reweight_bwd(mixed.mean, d_difference, functional.gelu(mixed.before), d_before)

    def _token_branch(self) -> _Branch:
        tile = self._tile
        dense = self._matrix("token_dense", tile.channels, tile.token_keys).T
        value = self._matrix("token_value", tile.token_keys, tile.tokens) if tile.reduces_tokens else None
        return self._branch("token", dense, value)

    def _channel_branch(self) -> _Branch:
        tile = self._tile
        dense = self._matrix("channel_dense", tile.channel_keys, tile.tokens)
        value = self._matrix("channel_value", tile.channels, tile.channel_keys).T if tile.reduces_channels else None
        return self._branch("channel", dense, value)

    def _branch(self, name: str, dense: Tensor, value: Tensor | None) -> _Branch:
        layout, (keys, width) = branch_layout(self._tile, name == "token"), dense.shape
        length = layout.length
        weights = SynthAttentionWeights(
            dense.contiguous(),
            self._vector(f"{name}_dense_bias", keys),
            self._matrix(f"{name}_squeeze", length // 4, length).float(),
            self._matrix(f"{name}_excite", length, length // 4).float(),
            dense.new_empty(0, length) if value is None else value,
            self._vector(f"{name}_value_bias", 0 if value is None else keys),
        )
        pool = self._vector(f"{name}_pool", width), self._vector(f"{name}_pool_bias", 1)
        return _Branch(layout, weights, pool)

    def _matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """What is no padding of a packed matrix."""
        padded = self._tile.matrices[name]
        packed = self._matrices[getattr(self._tile.at, name) :][: padded[0] * padded[1]]
        return packed.view(padded)[:rows, :columns]

    def _vector(self, name: str, length: int) -> Tensor:
        return self._vectors[getattr(self._tile.at, name) :][:length]


class _Branch:
    """One of the two. Its rows are those of x, or of x transposed."""

    def __init__(self, layout: BranchRows, weights: SynthAttentionWeights, pool: tuple[Tensor, Tensor]) -> None:
        self._layout, self._weights, self._pool = layout, weights, pool

    def __call__(self, x: Tensor) -> Synthesised:  # [B, n, width] float32
        weights = self._weights
        rows = x.to(weights.dense_weight.dtype).contiguous()
        pooled = x @ self._pool[0] + self._pool[1]
        squeezed = (pooled @ weights.squeeze_weight.T).relu()
        gate = (squeezed @ weights.excite_weight.T).sigmoid()
        attention = rows.new_empty(*rows.shape[:2], self._layout.key_count)
        self._launch(large_branch_fwd_kernel, rows, *weights[:2], gate, attention)
        values = rows
        if weights.reduced:
            bias = weights.value_bias.to(rows.dtype)[:, None]
            values = torch.baddbmm(bias, weights.value_weight.expand(len(rows), -1, -1), rows)
        return Synthesised(attention @ values, rows, values, pooled, squeezed, gate, attention)

    def backward(
        self,
        x: Tensor,  # [B, n, width] float32
        made: Synthesised,
        d_given: Tensor,  # [B, n, width] float32
        d_x: Tensor,  # [B, n, width] float32, to which it is added
    ) -> SynthAttentionWeights:
        weights, keys = self._weights, self._layout.key_count
        rows, attention = made.rows, made.attention
        d_out = d_given.to(rows.dtype).contiguous()
        d_energies, d_excited = torch.empty_like(attention), torch.empty_like(made.gate)
        self._launch(large_branch_bwd_kernel, rows, *weights[:2], made.gate, made.values, d_out, d_energies, d_excited)
        d_squeezed = (d_excited @ weights.excite_weight) * (made.squeezed > 0)
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
        gates = d_squeezed.T @ made.pooled, d_excited.T @ made.squeezed
        return SynthAttentionWeights(dense_weight, dense_bias, *gates, *value)

    def _launch(self, kernel: Any, rows: Tensor, *arguments: Tensor) -> None:
        layout = self._layout
        kernel[(len(rows), -(-layout.length // layout.rows))](
            rows, *arguments, S=layout, num_warps=layout.num_warps, num_stages=1, maxnreg=MOST_REGISTERS
        )

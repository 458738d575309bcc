"""EncoderLayer: one layer in training, on whole tensors: forward, and all gradients from the layer's input alone.

Four launches forward, eight backwards: `kernels/README.md` says which, and what they write. Backward kernels also write
the gradients of their Linears' outputs, as operands, and library products make the weights' gradients of them. No sum
depends on which program comes first. Windows that no program can hold have their branches from `large_mix.py`.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from mixsynth_stream.kernels.training.channel_branch import channel_branch, channel_branch_bwd, channel_values
from mixsynth_stream.kernels.training.dropout import KeepMasks, dropout
from mixsynth_stream.kernels.training.feed_forward import feed_forward, feed_forward_bwd
from mixsynth_stream.kernels.training.large_mix import LargeMix, MixOutput
from mixsynth_stream.kernels.training.library_products import OperandX
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.synth_mix import synth_mix, synth_mix_bwd
from mixsynth_stream.kernels.training.token_branch import token_branch, token_branch_bwd
from mixsynth_stream.kernels.weights import LayerWeights, SynthMixWeights


class FirstHalf(NamedTuple):
    """What a layer goes through up to its first LayerNorm."""

    t: Tensor  # [B, T, C], the token branch
    c: Tensor  # [B, T, C], the channel branch
    mean: Tensor  # [B, T], of both
    weight: Tensor  # [B, T], a_t
    # [B, T, n], what the channels attend to: x, or reduced. In large windows, what the branches' gradients take.
    branches: Tensor | MixOutput
    summed: Tensor  # [B, T, C], what the first LayerNorm takes


class EncoderLayer:
    """One layer: its packed weights and its dropout."""

    def __init__(
        self,
        layer: PackedLayer,
        seed: Tensor,  # [1] int64
        share: float,  # that is dropped, 0..1
    ) -> None:
        self._layer, self._seed, self._share = layer, seed, share

    def __call__(self, x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        if not len(x):
            return torch.empty_like(x)
        masks = self._keep_masks(x)
        return feed_forward(self._layer, self._first_half(x, masks).summed, masks)

    def backward(self, x: Tensor, d_out: Tensor) -> tuple[Tensor, LayerWeights]:  # [B, T, C] each
        """Gradients of x and, in the type of the operands or float32, of the weights."""
        layer, masks = self._layer, self._keep_masks(x)
        half = self._first_half(x, masks)
        # d_x begins as the gradient of the sum, which is the residual's part. The branches add theirs.
        d_x, d_proj, norm, d_feed_forward = feed_forward_bwd(layer, half.summed, d_out, masks)
        d_t, d_c, d_difference, proj = synth_mix_bwd(layer, d_proj, half.t, half.c, half.weight)
        mean, branches = half.mean, half.branches
        # Memory is released as soon as nothing needs it: the branches take the most.
        del masks, half, d_proj
        if isinstance(branches, MixOutput):
            token, channel, reweight = self._large.backward(x, branches, d_t, d_c, d_difference, d_x)
        else:
            operand_x = OperandX.of(x, layer.operand)
            d_mean, token, reweight = token_branch_bwd(layer, x, operand_x, d_t, mean, d_difference, d_x)
            del d_t
            channel = channel_branch_bwd(layer, x, operand_x, branches, d_c, d_mean, d_x)
        return d_x, LayerWeights(SynthMixWeights(token, channel, *reweight, *proj), norm, d_feed_forward)

    def _first_half(self, x: Tensor, masks: KeepMasks) -> FirstHalf:
        branches: Tensor | MixOutput
        if self._layer.tile.large:
            branches = self._large(x)
            t, c, mean, weight = branches[:4]
        else:
            branches = channel_values(self._layer, x)
            c = channel_branch(self._layer, x, branches)
            t, mean, weight = token_branch(self._layer, x, c)
        return FirstHalf(t, c, mean, weight, branches, synth_mix(self._layer, x, t, c, weight, masks))

    def _keep_masks(self, x: Tensor) -> KeepMasks:
        return dropout(x, self._layer.tile, self._seed, self._share)

    @cached_property
    def _large(self) -> LargeMix:
        return LargeMix(self._layer)

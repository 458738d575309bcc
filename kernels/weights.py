"""Weights: parameters of the ops as named tuples of tensors, in the order of the published names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class SynthAttentionWeights(NamedTuple):
    """One branch, over n rows of `width` numbers: tokens of channels, or channels of tokens; m = n / reduce keys.

    `value_weight` and `value_bias` are in every published file and are unused where m = n.
    """

    dense_weight: Tensor  # [m, width]
    dense_bias: Tensor  # [m]
    squeeze_weight: Tensor  # [n/4, n]
    excite_weight: Tensor  # [n, n/4]
    value_weight: Tensor  # [m, n]
    value_bias: Tensor  # [m]

    @property
    def reduced(self) -> bool:
        return self.dense_weight.shape[0] != self.excite_weight.shape[0]


class NormWeights(NamedTuple):
    weight: Tensor  # [C]
    bias: Tensor  # [C]


class SynthMixWeights(NamedTuple):
    token: SynthAttentionWeights
    channel: SynthAttentionWeights
    fc1_weight: Tensor  # [T/4, T]
    fc1_bias: Tensor  # [T/4]
    fc2_weight: Tensor  # [2T, T/4], rows 2i and 2i + 1 are the scores of token i's two branches
    fc2_bias: Tensor  # [2T]
    proj_weight: Tensor  # [C, C]
    proj_bias: Tensor  # [C]


class FeedForwardWeights(NamedTuple):
    fc1_weight: Tensor  # [E, C]
    fc1_bias: Tensor  # [E]
    fc2_weight: Tensor  # [C, E]
    fc2_bias: Tensor  # [C]
    norm: NormWeights


class LayerWeights(NamedTuple):
    mix: SynthMixWeights
    norm: NormWeights  # after the attention
    feed_forward: FeedForwardWeights


class EncoderWeights(NamedTuple):
    interp_weight: Tensor  # [T, Q+1]
    interp_bias: Tensor  # [T]
    emb_weight: Tensor  # [C, D]
    emb_bias: Tensor  # [C]
    layers: tuple[LayerWeights, ...]
    norm: NormWeights
    fc_weight: Tensor  # [D, C]
    fc_bias: Tensor  # [D]

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> EncoderWeights:
        """From a state dict with the published names. `mixsynth_stream.parameters` checks its shapes."""
        layers = sum(name.endswith(".norm1.weight") for name in state)
        return cls(
            *_linear(state, "l_interp"),
            *_linear(state, "encoder_emb"),
            tuple(_layer(state, f"encoder.layers.{i}") for i in range(layers)),
            NormWeights(*_linear(state, "norm")),
            *_linear(state, "fc"),
        )


def _linear(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return state[f"{name}.weight"], state[f"{name}.bias"]


def _layer(state: Mapping[str, Tensor], name: str) -> LayerWeights:
    attention = f"{name}.synth_att"
    mix = SynthMixWeights(
        _branch(state, f"{attention}.synth_token"),
        _branch(state, f"{attention}.synth_channel"),
        *_linear(state, f"{attention}.reweight.fc1"),
        *_linear(state, f"{attention}.reweight.fc2"),
        *_linear(state, f"{attention}.proj"),
    )
    norm1, norm2 = (NormWeights(*_linear(state, f"{name}.{norm}")) for norm in ("norm1", "norm2"))
    feed_forward = FeedForwardWeights(*_linear(state, f"{name}.ff.fc1"), *_linear(state, f"{name}.ff.fc2"), norm2)
    return LayerWeights(mix, norm1, feed_forward)


def _branch(state: Mapping[str, Tensor], name: str) -> SynthAttentionWeights:
    squeeze, excite = state[f"{name}.se.fc.0.weight"], state[f"{name}.se.fc.2.weight"]
    return SynthAttentionWeights(
        *_linear(state, f"{name}.dense"), squeeze, excite, *_linear(state, f"{name}.value_reduce")
    )

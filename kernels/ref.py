"""Ref: what each kernel computes, in plain torch and in the paper's words (Sun et al., ICCV 2023, Section 3).

It is written to be read and never optimised. It works in any float type and is differentiable, so gradients are checked
against it, too. B windows, T tokens, C channels, D numbers a pose, Q + 1 keyframes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from mixsynth_stream.kernels.weights import (
    EncoderWeights,
    FeedForwardWeights,
    NormWeights,
    SynthAttentionWeights,
    SynthMixWeights,
)


def synth_attention_ref(
    x: Tensor,  # [B, T, C]
    token: SynthAttentionWeights,
    channel: SynthAttentionWeights,
) -> tuple[Tensor, Tensor]:  # [B, T, C] each
    """The token branch, and the channel branch, which is the same on the transposed x."""
    return branch_ref(x, token), branch_ref(x.transpose(1, 2), channel).transpose(1, 2)


def branch_ref(x: Tensor, weights: SynthAttentionWeights) -> Tensor:  # [B, n, width] -> [B, n, width]
    """One branch: dense, squeeze-excite gate, softmax, values."""
    energies = functional.linear(x, weights.dense_weight, weights.dense_bias)  # [B, n, m]
    squeezed = (energies.mean(dim=-1) @ weights.squeeze_weight.T).relu()
    gate = (squeezed @ weights.excite_weight.T).sigmoid()
    attention = (energies * gate.unsqueeze(-1)).softmax(dim=-1)
    value = x
    if weights.reduced:
        value = functional.linear(x.transpose(1, 2), weights.value_weight, weights.value_bias).transpose(1, 2)
    return attention @ value


def synth_mix_ref(
    x: Tensor,  # [B, T, C]
    weights: SynthMixWeights,
    norm: NormWeights | None = None,
) -> Tensor:  # [B, T, C]
    """Both branches, mixed token by token with learned weights, projected; with `norm`, LayerNorm(x + that)."""
    t, c = synth_attention_ref(x, weights.token, weights.channel)
    hidden = functional.gelu(functional.linear((t + c).mean(dim=-1), weights.fc1_weight, weights.fc1_bias))
    scores = functional.linear(hidden, weights.fc2_weight, weights.fc2_bias).unflatten(-1, (-1, 2))  # [B, T, 2]
    a_t, a_c = scores.softmax(dim=-1).split(1, dim=-1)
    mixed = functional.linear(a_t * t + a_c * c, weights.proj_weight, weights.proj_bias)
    return mixed if norm is None else _layer_norm(x + mixed, norm)


def feed_forward_ref(
    x: Tensor,  # [B, T, C]
    weights: FeedForwardWeights,
) -> Tensor:  # [B, T, C]
    """LayerNorm(x + Linear(GELU(Linear(x))))."""
    hidden = functional.gelu(functional.linear(x, weights.fc1_weight, weights.fc1_bias))
    return _layer_norm(x + functional.linear(hidden, weights.fc2_weight, weights.fc2_bias), weights.norm)


def encoder_ref(
    keyframes: Tensor,  # [B, Q+1, D]
    weights: EncoderWeights,
) -> Tensor:  # [B, T, D]
    """The whole network: interpolate, embed, layers. Their output is added to the interpolation."""
    transposed = functional.linear(keyframes.transpose(1, 2), weights.interp_weight, weights.interp_bias)
    interpolated = transposed.transpose(1, 2)
    x = functional.linear(interpolated, weights.emb_weight, weights.emb_bias)
    for layer in weights.layers:
        x = feed_forward_ref(synth_mix_ref(x, layer.mix, layer.norm), layer.feed_forward)
    return functional.linear(_layer_norm(x, weights.norm), weights.fc_weight, weights.fc_bias) + interpolated


def _layer_norm(x: Tensor, norm: NormWeights) -> Tensor:  # [..., C] -> [..., C]
    return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias)

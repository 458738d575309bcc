"""Ref of training: a layer with dropout, and its gradients by hand, op by op, in plain torch.

It is written to be read, in any float type. Each `_bwd` takes what went into the op and the gradient of what came out.
It returns the gradient of x, and those of the weights in the weights' own named tuple.

B windows, T tokens, C channels, E hidden.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mixsynth_stream.kernels.ref import synth_attention_ref, synth_mix_ref
from mixsynth_stream.kernels.weights import (
    FeedForwardWeights,
    LayerWeights,
    NormWeights,
    SynthAttentionWeights,
    SynthMixWeights,
)


class Drops(NamedTuple):
    """What dropout multiplies by: 0, or 1 / (1 - p)."""

    proj: Tensor  # [B, T, C], after the projection of the mixture
    hidden: Tensor  # [B, T, E], after GELU
    out: Tensor  # [B, T, C], after the second Linear of the feed-forward


def encoder_layer_ref(
    x: Tensor,  # [B, T, C]
    weights: LayerWeights,
    drops: Drops,
) -> Tensor:  # [B, T, C]
    """One layer in training."""
    x = _layer_norm(x + drops.proj * synth_mix_ref(x, weights.mix), weights.norm)
    ff = weights.feed_forward
    hidden = drops.hidden * functional.gelu(functional.linear(x, ff.fc1_weight, ff.fc1_bias))
    return _layer_norm(x + drops.out * functional.linear(hidden, ff.fc2_weight, ff.fc2_bias), ff.norm)


def encoder_layer_bwd_ref(
    x: Tensor,  # [B, T, C]
    weights: LayerWeights,
    drops: Drops,
    d_out: Tensor,  # [B, T, C]
) -> tuple[Tensor, LayerWeights]:
    summed = x + drops.proj * synth_mix_ref(x, weights.mix)
    d_y, d_ff = feed_forward_bwd_ref(_layer_norm(summed, weights.norm), weights.feed_forward, drops, d_out)
    d_summed, d_norm = layer_norm_bwd_ref(summed, weights.norm, d_y)
    d_x, d_mix = synth_mix_bwd_ref(x, weights.mix, drops.proj * d_summed)
    return d_summed + d_x, LayerWeights(d_mix, d_norm, d_ff)


def feed_forward_bwd_ref(
    x: Tensor,  # [B, T, C]
    weights: FeedForwardWeights,
    drops: Drops,
    d_out: Tensor,  # [B, T, C]
) -> tuple[Tensor, FeedForwardWeights]:
    """Of LayerNorm(x + Linear(GELU(Linear(x)))), with dropout after GELU and after the second Linear."""
    before = functional.linear(x, weights.fc1_weight, weights.fc1_bias)
    hidden = drops.hidden * functional.gelu(before)
    summed = x + drops.out * functional.linear(hidden, weights.fc2_weight, weights.fc2_bias)
    d_summed, d_norm = layer_norm_bwd_ref(summed, weights.norm, d_out)
    d_second = drops.out * d_summed
    d_before = drops.hidden * (d_second @ weights.fc2_weight) * _gelu_slope(before)
    d_x = d_summed + d_before @ weights.fc1_weight
    return d_x, FeedForwardWeights(*_linear_bwd(x, d_before), *_linear_bwd(hidden, d_second), d_norm)


def synth_mix_bwd_ref(
    x: Tensor,  # [B, T, C]
    weights: SynthMixWeights,
    d_out: Tensor,  # [B, T, C]
) -> tuple[Tensor, SynthMixWeights]:
    """Of proj(a_t * t + a_c * c). A softmax over two is the sigmoid of their difference."""
    t, c = synth_attention_ref(x, weights.token, weights.channel)
    mean = (t + c).mean(dim=-1)
    _, difference = reweight_ref(mean, weights)
    d_t, d_c, d_difference, *proj = mixture_bwd_ref(t, c, difference.sigmoid(), weights, d_out)
    d_mean, *reweight = reweight_bwd_ref(mean, weights, d_difference)
    d_mean = d_mean.unsqueeze(-1) / x.shape[-1]
    d_x, d_token, d_channel = synth_attention_bwd_ref(x, weights.token, weights.channel, d_t + d_mean, d_c + d_mean)
    return d_x, SynthMixWeights(d_token, d_channel, *reweight, *proj)


def mixture_ref(
    t: Tensor,  # [B, T, C], the token branch
    c: Tensor,  # [B, T, C], the channel branch
    a_t: Tensor,  # [B, T], the weight of t
    weights: SynthMixWeights,
) -> Tensor:  # [B, T, C]
    """proj(a_t * t + a_c * c)."""
    a_t = a_t.unsqueeze(-1)
    return functional.linear(a_t * t + (1 - a_t) * c, weights.proj_weight, weights.proj_bias)


def mixture_bwd_ref(
    t: Tensor,  # [B, T, C]
    c: Tensor,  # [B, T, C]
    a_t: Tensor,  # [B, T]
    weights: SynthMixWeights,
    d_out: Tensor,  # [B, T, C]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of t, of c, of the difference whose sigmoid is a_t [B, T], and of the projection's weight and bias."""
    d_mixed = d_out @ weights.proj_weight
    d_difference = (d_mixed * (t - c)).sum(dim=-1) * a_t * (1 - a_t)
    a_t = a_t.unsqueeze(-1)
    return a_t * d_mixed, (1 - a_t) * d_mixed, d_difference, *_linear_bwd(a_t * t + (1 - a_t) * c, d_out)


def reweight_ref(
    mean: Tensor,  # [B, T], of both branches over the channels
    weights: SynthMixWeights,
) -> tuple[Tensor, Tensor]:
    """The input of GELU [B, T/4], and the difference of scores [B, T]: its sigmoid is the token branch's weight a_t."""
    before = functional.linear(mean, weights.fc1_weight, weights.fc1_bias)
    scores = functional.linear(functional.gelu(before), weights.fc2_weight, weights.fc2_bias)
    return before, scores[..., 0::2] - scores[..., 1::2]


def reweight_bwd_ref(
    mean: Tensor,  # [B, T]
    weights: SynthMixWeights,
    d_difference: Tensor,  # [B, T]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the mean [B, T], and of weight and bias of both Linears."""
    before, _ = reweight_ref(mean, weights)
    d_scores = torch.stack((d_difference, -d_difference), dim=-1).flatten(-2)  # [B, 2T]
    d_before = (d_scores @ weights.fc2_weight) * _gelu_slope(before)
    hidden = functional.gelu(before)
    return d_before @ weights.fc1_weight, *_linear_bwd(mean, d_before), *_linear_bwd(hidden, d_scores)


def synth_attention_bwd_ref(
    x: Tensor,  # [B, T, C]
    token: SynthAttentionWeights,
    channel: SynthAttentionWeights,
    d_token: Tensor,  # [B, T, C]
    d_channel: Tensor,  # [B, T, C]
) -> tuple[Tensor, SynthAttentionWeights, SynthAttentionWeights]:
    d_x, d_token_weights = branch_bwd_ref(x, token, d_token)
    d_transposed, d_channel_weights = branch_bwd_ref(x.transpose(1, 2), channel, d_channel.transpose(1, 2))
    return d_x + d_transposed.transpose(1, 2), d_token_weights, d_channel_weights


def branch_bwd_ref(
    x: Tensor,  # [B, n, width]
    weights: SynthAttentionWeights,
    d_out: Tensor,  # [B, n, width]
) -> tuple[Tensor, SynthAttentionWeights]:
    """Of one branch, which is the same for tokens and for channels."""
    energies = functional.linear(x, weights.dense_weight, weights.dense_bias)  # [B, n, m]
    pooled = energies.mean(dim=-1)
    squeezed = (pooled @ weights.squeeze_weight.T).relu()
    gate = (squeezed @ weights.excite_weight.T).sigmoid()
    attention = (energies * gate.unsqueeze(-1)).softmax(dim=-1)
    turned = x.transpose(1, 2)
    value = functional.linear(turned, weights.value_weight, weights.value_bias).transpose(1, 2)
    value = value if weights.reduced else x
    d_value = attention.transpose(1, 2) @ d_out  # [B, m, width]
    d_attention = d_out @ value.transpose(1, 2)
    d_gated = attention * (d_attention - (attention * d_attention).sum(dim=-1, keepdim=True))
    d_excited = (d_gated * energies).sum(dim=-1) * gate * (1 - gate)  # before the sigmoid
    d_squeezed = (d_excited @ weights.excite_weight) * (squeezed > 0)
    # The pool is a mean of energies, so its gradient joins theirs.
    d_pooled = d_squeezed @ weights.squeeze_weight
    d_energies = d_gated * gate.unsqueeze(-1) + d_pooled.unsqueeze(-1) / energies.shape[-1]
    d_x = d_energies @ weights.dense_weight
    if weights.reduced:
        d_x = d_x + (d_value.transpose(1, 2) @ weights.value_weight).transpose(1, 2)
        d_value_weights = _linear_bwd(turned, d_value.transpose(1, 2))
    else:
        d_x = d_x + d_value
        d_value_weights = torch.zeros_like(weights.value_weight), torch.zeros_like(weights.value_bias)
    return d_x, SynthAttentionWeights(
        *_linear_bwd(x, d_energies),
        d_squeezed.T @ pooled,
        d_excited.T @ squeezed,
        *d_value_weights,
    )


def large_branch_ref(
    rows: Tensor,  # [B, n, width]
    dense_weight: Tensor,  # [m, width]
    dense_bias: Tensor,  # [m]
    gate: Tensor,  # [B, n]
) -> Tensor:  # [B, n, m]
    """The attention of a branch whose gate is known."""
    return (functional.linear(rows, dense_weight, dense_bias) * gate.unsqueeze(-1)).softmax(dim=-1)


def large_branch_bwd_ref(
    rows: Tensor,  # [B, n, width]
    dense_weight: Tensor,  # [m, width]
    dense_bias: Tensor,  # [m]
    gate: Tensor,  # [B, n]
    values: Tensor,  # [B, m, width]
    d_out: Tensor,  # [B, n, width]
) -> tuple[Tensor, Tensor]:
    """Gradients of the energies [B, n, m], without what the pool adds, and of what the gate's sigmoid takes [B, n]."""
    energies = functional.linear(rows, dense_weight, dense_bias)
    attention = (energies * gate.unsqueeze(-1)).softmax(dim=-1)
    d_attention = d_out @ values.transpose(1, 2)
    d_gated = attention * (d_attention - (attention * d_attention).sum(dim=-1, keepdim=True))
    return d_gated * gate.unsqueeze(-1), (d_gated * energies).sum(dim=-1) * gate * (1 - gate)


def layer_norm_bwd_ref(
    x: Tensor,  # [..., C]
    norm: NormWeights,
    d_out: Tensor,  # [..., C]
) -> tuple[Tensor, NormWeights]:
    centred = x - x.mean(dim=-1, keepdim=True)
    scale = (centred.square().mean(dim=-1, keepdim=True) + 1e-5).rsqrt()
    normal = centred * scale
    d_normal = d_out * norm.weight
    along = (d_normal * normal).mean(dim=-1, keepdim=True)
    d_x = scale * (d_normal - d_normal.mean(dim=-1, keepdim=True) - normal * along)
    return d_x, NormWeights((d_out * normal).flatten(0, -2).sum(0), d_out.flatten(0, -2).sum(0))


def dropout_ref(
    seed: int, stream: int, shape: tuple[int, int, int], share: float, device: torch.device | str
) -> Tensor:  # [B, T, numbers]
    """What dropout multiplies by in the kernels: Philox-4x32-10 of the key `seed`.

    The counter is (place in the window, which of the layer's dropouts, window, 0).
    """
    place = torch.arange(shape[1] * shape[2], device=device).repeat(shape[0])
    window = torch.arange(shape[0], device=device).repeat_interleave(shape[1] * shape[2])
    low = 0xFFFFFFFF
    c0, c1, c2, c3 = place, torch.full_like(place, stream), window, torch.zeros_like(place)
    k0, k1 = seed & low, seed >> 32 & low
    for _ in range(10):
        (high0, low0), (high2, low2) = _wide_product(0xD2511F53, c0), _wide_product(0xCD9E8D57, c2)
        c0, c1, c2, c3 = high2 ^ c1 ^ k0, low2, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    uniform = (c0 >> 8).float() / 2**24
    return torch.where(uniform >= share, 1 / (1 - share), 0.0).view(shape)


def _wide_product(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a product of 32-bit numbers, in int64 that must not overflow."""
    upper, lower = a * (b >> 16), a * (b & 0xFFFF)
    middle = upper + (lower >> 16)
    return middle >> 16, (middle & 0xFFFF) << 16 | lower & 0xFFFF


def _linear_bwd(x: Tensor, d_out: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a Linear's weight and bias."""
    d_out = d_out.flatten(0, -2)
    return d_out.T @ x.flatten(0, -2), d_out.sum(0)


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density


def _layer_norm(x: Tensor, norm: NormWeights) -> Tensor:  # [..., C] -> [..., C]
    return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias)

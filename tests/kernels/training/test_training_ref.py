"""Gradients by hand, which the kernels are held against: beside autograd and finite differences in float64."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.gradients import leaves, rebuilt
from support.networks import ODD
from support.references import UNREDUCED, layer_of, random_like

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.training.ref import Drops, encoder_layer_bwd_ref, encoder_layer_ref


def random_drops(config: ModelConfig, batch: int) -> Drops:
    hidden = config.emb_dim * config.expansion_factor
    widths = (config.emb_dim, hidden, config.emb_dim)
    return Drops(*((random_like(batch, config.seq_len, w, seed=i) > -1) / 0.84 for i, w in enumerate(widths)))


@pytest.mark.parametrize("config", [ODD, UNREDUCED], ids=["odd", "unreduced"])
def test_gradients_by_hand_are_those_of_autograd(config):
    layer, drops = layer_of(config), random_drops(config, 3)
    x, d_out = (random_like(3, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6))
    inputs = [tensor.requires_grad_() for tensor in (x, *leaves(layer))]
    expected = torch.autograd.grad(
        encoder_layer_ref(x, layer, drops), inputs, d_out, allow_unused=True, materialize_grads=True
    )
    with torch.no_grad():
        d_x, d_layer = encoder_layer_bwd_ref(x, layer, drops, d_out)
    for i, (gradient, truth) in enumerate(zip((d_x, *leaves(d_layer)), expected, strict=True)):
        assert gradient.shape == truth.shape
        assert (gradient - truth).abs().max() <= 1e-9 * (1 + truth.abs().max()), f"gradient {i} (0 is that of x)"


def test_gradients_by_hand_are_slopes():
    """gradcheck: against finite differences, so that a mistake that the reference and its gradient share would show."""
    config = dataclasses.replace(ODD, sample_interval=2, emb_dim=6, expansion_factor=1, horizon=1)
    layer, drops = layer_of(config), random_drops(config, 1)

    class Layer(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, *tensors):
            ctx.save_for_backward(x, *tensors)
            return encoder_layer_ref(x, rebuilt(layer, list(tensors)), drops)

        @staticmethod
        def backward(ctx, d_out):
            x, *tensors = ctx.saved_tensors
            d_x, d_layer = encoder_layer_bwd_ref(x, rebuilt(layer, tensors), drops, d_out)
            return d_x, *leaves(d_layer)

    x = random_like(1, config.seq_len, config.emb_dim)
    assert torch.autograd.gradcheck(Layer.apply, [tensor.requires_grad_() for tensor in (x, *leaves(layer))])

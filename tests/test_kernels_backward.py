"""Gradients: by hand against autograd in float64, the kernels against those, and a short training."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import torch
from networks import ODD, random_state

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.ref_bwd import Drops, encoder_layer_bwd_ref, encoder_layer_ref
from mixsynth_stream.kernels.weights import EncoderWeights, LayerWeights

UNREDUCED = ModelConfig(sample_interval=4, step=3, horizon=2, joint_dim=6, emb_dim=20, num_encoder_layers=1,
                        reduce_token=1, reduce_channel=1)  # fmt: skip
CONFIGS = pytest.mark.parametrize("config", [ODD, UNREDUCED], ids=["odd", "unreduced"])


def leaves(value: object) -> list[torch.Tensor]:
    """Tensors of nested tuples, in order."""
    return [value] if isinstance(value, torch.Tensor) else [leaf for part in value for leaf in leaves(part)]


def rebuilt(like: object, tensors: list[torch.Tensor]) -> object:
    """The nested tuple `like` with other tensors; takes them off the list."""
    return tensors.pop(0) if isinstance(like, torch.Tensor) else type(like)(*(rebuilt(part, tensors) for part in like))


def layer_of(config: ModelConfig, dtype: torch.dtype = torch.float64) -> LayerWeights:
    state = {name: torch.from_numpy(value).to(dtype) for name, value in random_state(config).items()}
    return EncoderWeights.of(state).layers[0]


def random_like(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_drops(config: ModelConfig, batch: int) -> Drops:
    hidden = config.emb_dim * config.expansion_factor
    widths = (config.emb_dim, hidden, config.emb_dim)
    return Drops(*((random_like(batch, config.seq_len, w, seed=i) > -1) / 0.84 for i, w in enumerate(widths)))


@CONFIGS
def test_gradients_by_hand_are_those_of_autograd(config):
    layer, drops = layer_of(config), random_drops(config, 3)
    x, d_out = (random_like(3, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6))
    inputs = [tensor.requires_grad_() for tensor in (x, *leaves(layer))]
    expected = torch.autograd.grad(
        encoder_layer_ref(x, layer, drops), inputs, d_out, allow_unused=True, materialize_grads=True
    )
    with torch.no_grad():
        d_x, d_layer = encoder_layer_bwd_ref(x, layer, drops, d_out)
    for i, (found, wanted) in enumerate(zip((d_x, *leaves(d_layer)), expected, strict=True)):
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= 1e-9 * (1 + wanted.abs().max()), f"gradient {i} (0 is that of x)"


def test_gradients_by_hand_are_slopes():
    """gradcheck: against finite differences, so that a mistake that ref.py and its gradient share would show."""
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

"""Gradients of one layer on the kernels beside those of the reference in float64. Needs Triton."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from networks import random_state

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels import card
from mixsynth_stream.kernels.training import autograd
from mixsynth_stream.kernels.training.ref import Drops, dropout_ref, encoder_layer_bwd_ref, encoder_layer_ref
from mixsynth_stream.kernels.weights import EncoderWeights, LayerWeights

# Largest error of a gradient, as a share of its largest number, against float64.
TOLERANCE = {"strict": 2e-5, "tf32": 1e-2, "bf16": 1e-1, "fp16": 2e-2}
DEVICE = "cpu" if card.INTERPRETED else "cuda"


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


def assert_gradients(found: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float) -> None:
    for i, (gradient, wanted) in enumerate(zip(found, expected, strict=True)):
        assert gradient.shape == wanted.shape
        error = (gradient.cpu() - wanted).abs().max()
        assert error <= tolerance * wanted.abs().max() + 1e-7, f"gradient {i} (0 is that of x) is off by {error}"


@contextlib.contextmanager
def nan_in_new_memory() -> Iterator[None]:
    """What a kernel reads and nobody wrote shows, in padding too: zero times NaN is NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@nan_in_new_memory()
def assert_layer_is_the_reference(config: ModelConfig, precision: str, batch: int) -> None:
    """Output and gradients, with dropout: what the reference drops comes from its own Philox."""
    share, seed = 0.2, 2**40 + 5
    widths = (config.emb_dim, config.emb_dim * config.expansion_factor, config.emb_dim)
    drops = Drops(*(dropout_ref(seed, i, (batch, config.seq_len, w), share) for i, w in enumerate(widths)))
    layer = layer_of(config)
    x, d_out = (random_like(batch, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6))
    inputs = [tensor.float().to(DEVICE).requires_grad_() for tensor in (x, *leaves(layer))]
    out = autograd.encoder_layer_op(inputs[0], inputs[1:], torch.tensor([seed], device=DEVICE), share, precision)[0]
    expected = encoder_layer_ref(x, layer, drops)
    assert (out.cpu() - expected).abs().max() <= TOLERANCE[precision] * expected.abs().max()
    found = torch.autograd.grad(out, inputs, d_out.float().to(DEVICE))
    d_x, d_layer = encoder_layer_bwd_ref(x, layer, drops, d_out)
    assert_gradients(found, [d_x, *leaves(d_layer)], TOLERANCE[precision])

"""Gradients of one layer on the kernels, compared with those of the reference in float64. Needs Triton."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import pytest
import torch
from support.networks import ODD
from support.references import DEVICE, UNREDUCED, layer_of, random_like

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.pack import pack_layer
from mixsynth_stream.kernels.training import autograd
from mixsynth_stream.kernels.training.dropout import KeepMasks, dropout
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.ref import Drops, dropout_ref, encoder_layer_bwd_ref, encoder_layer_ref
from mixsynth_stream.kernels.training.tile import TrainingTile

# Largest error of a gradient, as a share of its largest number, against float64.
TOLERANCE = {"strict": 2e-5, "tf32": 1e-2, "bf16": 1e-1, "fp16": 2e-2}
SHARE, SEED = 0.2, 2**40 + 5
# Channels and tokens in two blocks, the second ones not full.
WIDE = dataclasses.replace(ODD, num_encoder_layers=1, emb_dim=36, reduce_channel=1, sample_interval=17)
# More tokens than a program has rows, more keys than it has energies, and more numbers than it has registers for.
LONG = ModelConfig(
    sample_interval=258,
    step=1,
    horizon=3,
    joint_dim=5,
    emb_dim=67,
    num_encoder_layers=1,
    expansion_factor=1,
    reduce_token=1,
    reduce_channel=3,
)
# For one op of a layer: with and without reduction, and larger than one block.
OP_CASES = pytest.mark.parametrize(
    ("config", "precision"), [(ODD, "strict"), (UNREDUCED, "fp16"), (WIDE, "strict")], ids=["odd", "unreduced", "wide"]
)


def leaves(value: object) -> list[torch.Tensor]:
    """Tensors of nested tuples, in order."""
    return [value] if isinstance(value, torch.Tensor) else [leaf for part in value for leaf in leaves(part)]


def rebuilt(like: object, tensors: list[torch.Tensor]) -> object:
    """The nested tuple `like` with other tensors; takes them off the list."""
    return tensors.pop(0) if isinstance(like, torch.Tensor) else type(like)(*(rebuilt(part, tensors) for part in like))


def assert_gradients(gradients: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], tolerance: float) -> None:
    for i, (gradient, truth) in enumerate(zip(gradients, expected, strict=True)):
        assert gradient.shape == truth.shape
        error = (gradient.cpu() - truth).abs().max()
        assert error <= tolerance * truth.abs().max() + 1e-7, f"gradient {i} (0 is that of x) is off by {error}"


@contextlib.contextmanager
def nan_in_new_memory() -> Iterator[None]:
    """New memory is NaN, which shows numbers that are read before they are written. In padding, too: 0 * NaN is NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def drops_of(config: ModelConfig, batch: int) -> Drops:
    """What a layer drops with `SEED`, from the reference's own Philox."""
    widths = (config.emb_dim, config.emb_dim * config.expansion_factor, config.emb_dim)
    return Drops(*(dropout_ref(SEED, i, (batch, config.seq_len, w), SHARE, "cpu") for i, w in enumerate(widths)))


def on_device(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """As kernels take them."""
    return [tensor.detach().float().to(DEVICE) for tensor in tensors]


def packed_layer(config: ModelConfig, precision: str) -> PackedLayer:
    """A layer with random weights as kernels take it in training."""
    tile = TrainingTile.of_layer(config, precision)
    return PackedLayer(tile, *pack_layer(layer_of(config, torch.float32, DEVICE), tile))


def keep_masks(layer: PackedLayer, x: torch.Tensor) -> KeepMasks:
    """What a layer keeps with `SEED`, from the kernel."""
    return dropout(x, layer.tile, torch.tensor([SEED], device=DEVICE), SHARE)


@nan_in_new_memory()
def assert_layer_is_the_reference(config: ModelConfig, precision: str, batch: int) -> None:
    """Output and gradients, with dropout: what the reference drops comes from its own Philox."""
    drops, layer = drops_of(config, batch), layer_of(config)
    x, d_out = (random_like(batch, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6))
    inputs = [tensor.float().to(DEVICE).requires_grad_() for tensor in (x, *leaves(layer))]
    out = autograd.encoder_layer_op(inputs[0], inputs[1:], torch.tensor([SEED], device=DEVICE), SHARE, precision)[0]
    expected = encoder_layer_ref(x, layer, drops)
    assert (out.cpu() - expected).abs().max() <= TOLERANCE[precision] * expected.abs().max()
    gradients = torch.autograd.grad(out, inputs, d_out.float().to(DEVICE))
    d_x, d_layer = encoder_layer_bwd_ref(x, layer, drops, d_out)
    assert_gradients(gradients, [d_x, *leaves(d_layer)], TOLERANCE[precision])

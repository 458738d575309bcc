"""Training on the kernels, of windows that one program cannot hold: the library makes their branches' products."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.gradients import LONG, assert_gradients, assert_layer_is_the_reference, leaves
from support.networks import ODD
from support.references import DEVICE, layer_of, random_like

from mixsynth_stream.bench.kernels.contenders import GRADIENT_TOLERANCE
from mixsynth_stream.bench.kernels.run import gradient_error
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.pack import pack_layer
from mixsynth_stream.kernels.ref import synth_attention_ref
from mixsynth_stream.kernels.training import autograd, large_mix
from mixsynth_stream.kernels.training import tile as tile_module
from mixsynth_stream.kernels.training.large_branch import BranchTile
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.ref import large_branch_bwd_ref, large_branch_ref, synth_attention_bwd_ref
from mixsynth_stream.kernels.training.tile import TrainingTile

ODD_LAYER = dataclasses.replace(ODD, num_encoder_layers=1)
UNREDUCED = dataclasses.replace(ODD_LAYER, emb_dim=20, reduce_token=1, reduce_channel=1)
# Rows so long that products read them in blocks.
BROAD = ModelConfig(
    sample_interval=4,
    step=1,
    joint_dim=5,
    emb_dim=130,
    num_encoder_layers=1,
    expansion_factor=1,
    reduce_token=2,
    reduce_channel=1,
)


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small windows as large ones."""
    monkeypatch.setattr(tile_module, "_MOST_ENERGIES", 0)


@pytest.mark.parametrize(("config", "precision"), [(LONG, "fp16"), (BROAD, "strict")])
def test_large_windows_have_the_gradients_of_the_reference(config, precision):
    assert TrainingTile.of_layer(config, precision).large
    assert_layer_is_the_reference(config, precision, batch=1)


@pytest.mark.parametrize("precision", ["strict", "fp16"])
@pytest.mark.parametrize("config", [ODD_LAYER, UNREDUCED], ids=["odd", "unreduced"])
@pytest.mark.usefixtures("all_large")
def test_small_windows_taken_for_large_ones_do_too(config, precision):
    """Several windows, tokens and channels that are reduced and that are not, and no size that a block divides."""
    assert_layer_is_the_reference(config, precision, batch=3)


@pytest.mark.usefixtures("all_large")
def test_repeats_torch_compile_and_autocast_give_the_same():
    x = random_like(2, ODD.seq_len, ODD.emb_dim).float().to(DEVICE)
    layer = [tensor.to(DEVICE).requires_grad_() for tensor in leaves(layer_of(ODD_LAYER, torch.float32))]
    seed = torch.tensor([3], device=DEVICE)

    def loss() -> torch.Tensor:
        return autograd.encoder_layer_op(x, layer, seed, 0.1, "strict")[0].square().sum()

    expected = torch.autograd.grad(loss(), layer)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    with torch.autocast(DEVICE, torch.bfloat16):
        cast = torch.autograd.grad(loss(), layer)
    for others in (torch.autograd.grad(loss(), layer), torch.autograd.grad(compiled(), layer), cast):
        assert [gradient.dtype for gradient in others] == [torch.float32] * len(layer)
        # To the bit on a card; on a CPU the library's sums depend on where in memory numbers lie.
        assert_gradients(others, [truth.cpu() for truth in expected], 1e-6)
    torch.library.opcheck(autograd.encoder_layer_op, (x, layer, seed, 0.1, "strict"), test_utils="test_faketensor")


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a kernel computes of operands in bfloat16, which the interpreter does not know."""

    def call(tile: BranchTile, *arguments: torch.Tensor) -> Any:
        assert tile.precision == "bf16"
        results = function(*(tensor.float() for tensor in arguments))
        return (results[0].bfloat16(), results[1]) if isinstance(results, tuple) else results.bfloat16()

    return call


@pytest.mark.parametrize(
    "config", [dataclasses.replace(ODD_LAYER, sample_interval=30, emb_dim=40), LONG], ids=["reduced", "long"]
)
def test_the_library_in_bfloat16_is_within_its_error(config, monkeypatch):
    """The library's products are in bfloat16, and what the kernels make between them is in float32."""
    monkeypatch.setattr(tile_module, "_MOST_ENERGIES", 0)
    monkeypatch.setattr(large_mix, "large_branch", in_float32(large_branch_ref))
    monkeypatch.setattr(large_mix, "large_branch_bwd", in_float32(large_branch_bwd_ref))
    layer, tile = layer_of(config).mix, TrainingTile.of_layer(config, "bf16")
    mix = large_mix.LargeMix(PackedLayer(tile, *pack_layer(layer_of(config, torch.float32), tile)))
    x, d_token, d_channel = (random_like(3, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6, 7))
    output = mix(x.float())
    for branch, truth in zip(output[:2], synth_attention_ref(x, layer.token, layer.channel), strict=True):
        assert (branch - truth).abs().max() <= 1e-2 * truth.abs().max()
    d_x, nothing = torch.zeros_like(x, dtype=torch.float32), torch.zeros(3, config.seq_len)
    d_branches = mix.backward(x.float(), output, d_token.float(), d_channel.float(), nothing, d_x)[:2]
    truth = synth_attention_bwd_ref(x, layer.token, layer.channel, d_token, d_channel)
    assert_gradients([d_x], [truth[0]], 1e-2)
    pairs = zip(leaves(d_branches), leaves(truth[1:]), strict=True)
    pairs = {str(i): pair for i, pair in enumerate(pairs) if pair[0].numel()}
    # In their Euclidean norm: where rounding moves a number across ReLU's corner, a single gradient jumps.
    error = gradient_error(*({i: pair[side] for i, pair in pairs.items()} for side in (0, 1)))
    assert error <= GRADIENT_TOLERANCE["bf16"], f"off by {error:.1e}"

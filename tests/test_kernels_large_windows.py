"""Training on the kernels, of windows that one program cannot hold: the library makes their branches' products."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import torch
from gradients import DEVICE, assert_gradients, assert_layer_is_the_reference, layer_of, leaves, random_like
from networks import ODD, published

from mixsynth_stream.bench_kernels import gradient_error
from mixsynth_stream.bench_kernels_contenders import GRADIENT_TOLERANCE
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels import tile
from mixsynth_stream.kernels.pack import pack_layer
from mixsynth_stream.kernels.ref import synth_attention_ref
from mixsynth_stream.kernels.training import autograd, large_mix
from mixsynth_stream.kernels.training.encoder_layer import specialisations_backward, training_tile
from mixsynth_stream.kernels.training.large_branch import BranchRows, large_branch_bwd_kernel, large_branch_fwd_kernel
from mixsynth_stream.kernels.training.library_products import library_precision
from mixsynth_stream.kernels.training.ref import synth_attention_bwd_ref

ODD_LAYER = dataclasses.replace(ODD, num_encoder_layers=1)
UNREDUCED = dataclasses.replace(ODD_LAYER, emb_dim=20, reduce_token=1, reduce_channel=1)
# More tokens than a program has rows, more keys than it has energies, and more numbers than it has registers for.
LONG = ModelConfig(sample_interval=258, step=1, horizon=3, joint_dim=5, emb_dim=67, num_encoder_layers=1,
                   expansion_factor=1, reduce_token=1, reduce_channel=3)  # fmt: skip
# Rows so long that products read them in blocks.
BROAD = ModelConfig(sample_interval=4, step=1, joint_dim=5, emb_dim=130, num_encoder_layers=1, expansion_factor=1,
                    reduce_token=2, reduce_channel=1)  # fmt: skip


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small windows as large ones."""
    monkeypatch.setattr(tile, "_TRAINED_ENERGIES", 0)


@pytest.mark.parametrize(("config", "precision"), [(LONG, "fp16"), (BROAD, "strict")])
def test_large_windows_have_the_gradients_of_the_reference(config, precision):
    assert training_tile(config, precision).tiled
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
        assert_gradients(others, [wanted.cpu() for wanted in expected], 1e-6)
    torch.library.opcheck(autograd.encoder_layer_op, (x, layer, seed, 0.1, "strict"), test_utils="test_faketensor")


def test_strict_is_float32_whatever_torch_may_do_elsewhere():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with pytest.raises(KeyError), library_precision("strict"):
            assert matmul.fp32_precision == "ieee"
            raise KeyError
        assert matmul.fp32_precision == "tf32", "as it was, after an error too"
        with library_precision("tf32"):
            assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


class PlainKernel:
    """What the kernels compute of operands in bfloat16, which the interpreter does not know."""

    def __init__(self, backward: bool) -> None:
        self._backward = backward

    def __getitem__(self, _grid: tuple[int, int]) -> PlainKernel:
        return self

    def __call__(self, *arguments: torch.Tensor, S: BranchRows, **_: Any) -> None:
        assert S.precision == "bf16"
        rows, dense, bias, gate, *others = (tensor.float() for tensor in arguments)
        energies = rows @ dense.T + bias
        attention = (energies * gate[..., None]).softmax(-1)
        if not self._backward:
            arguments[4].copy_(attention)
            return
        values, d_given = others[:2]
        d_attention = d_given @ values.mT
        d_gated = attention * (d_attention - (attention * d_attention).sum(-1, keepdim=True))
        arguments[6].copy_(d_gated * gate[..., None])
        arguments[7].copy_((d_gated * energies).sum(-1) * gate * (1 - gate))


@pytest.mark.parametrize("config", [dataclasses.replace(ODD_LAYER, sample_interval=30, emb_dim=40), LONG],
                         ids=["reduced", "long"])  # fmt: skip
def test_the_library_in_bfloat16_is_within_its_error(config, monkeypatch):
    """The products of the library are in bfloat16 here; what the kernels make between them, in float32."""
    monkeypatch.setattr(tile, "_TRAINED_ENERGIES", 0)
    monkeypatch.setattr(large_mix, "large_branch_fwd_kernel", PlainKernel(backward=False))
    monkeypatch.setattr(large_mix, "large_branch_bwd_kernel", PlainKernel(backward=True))
    layer, laid_out = layer_of(config).mix, training_tile(config, "bf16")
    mix = large_mix.LargeMix(laid_out, *pack_layer(layer_of(config, torch.float32), laid_out))
    x, d_token, d_given = (random_like(3, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6, 7))
    mixed = mix(x.float())
    for found, expected in zip(mixed[:2], synth_attention_ref(x, layer.token, layer.channel), strict=True):
        assert (found - expected).abs().max() <= 1e-2 * expected.abs().max()
    d_x, nothing = torch.zeros_like(x, dtype=torch.float32), torch.zeros(3, config.seq_len)
    d_branches = mix.backward(x.float(), mixed, d_token.float(), d_given.float(), nothing, d_x)[:2]
    wanted = synth_attention_bwd_ref(x, layer.token, layer.channel, d_token, d_given)
    assert_gradients([d_x], [wanted[0]], 1e-2)
    pairs = zip(leaves(d_branches), leaves(wanted[1:]), strict=True)
    pairs = {str(i): pair for i, pair in enumerate(pairs) if pair[0].numel()}
    # In their Euclidean norm: where rounding moves a number across ReLU's corner, a single gradient jumps.
    error = gradient_error(*({i: pair[side] for i, pair in pairs.items()} for side in (0, 1)))
    assert error <= GRADIENT_TOLERANCE["bf16"], f"off by {error:.1e}"


def test_what_a_step_launches_is_told_to_those_who_compile_ahead():
    kinds = specialisations_backward(LONG, "bf16")
    for kind in kinds:
        assert list(kind.signature) == list(kind.kernel.arg_names)
    launched = [kind.kernel for kind in kinds]
    assert launched.count(large_branch_fwd_kernel) == launched.count(large_branch_bwd_kernel) == 2
    assert all("channel_branch" not in kind.name and "token_branch" not in kind.name for kind in kinds)


@pytest.mark.parametrize("precision", ["strict", "bf16"])
def test_the_plan_says_who_makes_the_products(precision):
    assert "by the library" in training_tile(LONG, precision).training_plan
    # As the published evaluation builds it: its energies would spill, or find no shared memory.
    assert "by the library" in training_tile(published("h36m", 1, 1), precision).training_plan
    assert training_tile(published("aist"), precision).training_plan == "4 launches a layer forward and 8 backwards"

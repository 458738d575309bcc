"""Gradients: by hand against autograd in float64, the kernels against those, and a short training."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import torch
from gradients import (
    DEVICE,
    assert_gradients,
    assert_layer_is_the_reference,
    layer_of,
    leaves,
    random_like,
    rebuilt,
)
from networks import ODD, SHAPES, random_state
from swings import small, write_swings

from mixsynth_stream import weights
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels import card
from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.kernels.training import autograd
from mixsynth_stream.kernels.training.autograd import encode
from mixsynth_stream.kernels.training.encoder_layer import specialisations_backward, training_tile
from mixsynth_stream.kernels.training.ref import Drops, encoder_layer_bwd_ref, encoder_layer_ref
from mixsynth_stream.kernels.weights import EncoderWeights
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.train import train

UNREDUCED = ModelConfig(sample_interval=4, step=3, horizon=2, joint_dim=6, emb_dim=20, num_encoder_layers=1,
                        reduce_token=1, reduce_channel=1)  # fmt: skip
ONE_LAYER = dataclasses.replace(ODD, num_encoder_layers=1)
HERE = ("strict", "fp16") if card.INTERPRETED else PRECISIONS
# Channels and tokens in two blocks, the second ones not full.
WIDE = dataclasses.replace(ONE_LAYER, emb_dim=36, reduce_channel=1, sample_interval=17)
CONFIGS = pytest.mark.parametrize("config", [ODD, UNREDUCED], ids=["odd", "unreduced"])


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


@pytest.mark.parametrize(
    ("config", "precision"),
    [(ODD, "strict"), (UNREDUCED, "fp16"), (WIDE, "strict"), (WIDE, "fp16")]
    + [(config, precision) for config in (ODD, UNREDUCED) for precision in HERE if precision in ("tf32", "bf16")],
)
def test_the_kernels_have_the_gradients_of_the_reference(config, precision):
    assert_layer_is_the_reference(config, precision, batch=2)


def network_of(config: ModelConfig, dropout: float) -> MixSynthFormer:
    network = MixSynthFormer(config, dropout=dropout)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in random_state(config).items()})
    return network.to(DEVICE)


def test_the_whole_network_has_the_gradients_of_the_plain_one():
    network, plain = network_of(UNREDUCED, 0.0), network_of(UNREDUCED, 0.0).double()
    keyframes = random_like(2, UNREDUCED.num_keyframes, UNREDUCED.joint_dim)
    narrow, wide = keyframes.float().to(DEVICE).requires_grad_(), keyframes.to(DEVICE).requires_grad_()
    encode(network, narrow, precision="strict").square().sum().backward()
    plain(wide).square().sum().backward()
    unused = [name for name, parameter in plain.named_parameters() if parameter.grad is None]
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == unused
    assert len(unused) == 4, "value_reduce of both branches, where nothing is reduced"
    expected = [wide.grad.cpu()] + [p.grad.cpu() for p in plain.parameters() if p.grad is not None]
    found = [narrow.grad] + [p.grad for p in network.parameters() if p.grad is not None]
    assert_gradients(found, expected, 5e-5)


def test_a_seed_decides_the_dropout_and_the_gradient_is_the_slope_under_it():
    network = network_of(ONE_LAYER, 0.3).train()
    keyframes = random_like(1, ONE_LAYER.num_keyframes, ONE_LAYER.joint_dim).float().to(DEVICE)

    def loss(seed: int) -> torch.Tensor:
        return encode(network, keyframes, precision="strict", seed=seed).square().sum()

    first = loss(1)
    assert torch.equal(first, loss(1))
    assert not torch.equal(first, loss(2))
    first.backward()
    slope, step, moved = 0.0, 2e-3, []
    for parameter in network.parameters():
        if parameter.numel():
            direction = torch.sign(parameter.grad) * parameter.grad.abs().mean()
            slope += float((direction * parameter.grad).sum())
            moved.append((parameter, direction))
    size = sum(float(direction.square().sum()) for _, direction in moved) ** 0.5
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in moved:
                parameter += sign * step / size * direction
            values.append(float(loss(1)))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope / size, rel=1e-2)
    network.eval()
    assert torch.equal(loss(1), loss(2)), "no dropout outside training"


def test_torch_compile_and_autocast_give_the_same():
    network = network_of(ONE_LAYER, 0.1).train()
    x = random_like(1, ONE_LAYER.seq_len, ONE_LAYER.emb_dim).float().to(DEVICE)
    layer = EncoderWeights.of(dict(network.named_parameters())).layers[0]
    seed = torch.tensor([3], device=DEVICE)

    def loss() -> torch.Tensor:
        return autograd.encoder_layer_op(x, autograd._flat(layer), seed, 0.1, "strict")[0].square().sum()

    parameters = [p for p in network.encoder.parameters() if p.numel()]
    expected = torch.autograd.grad(loss(), parameters)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    with torch.autocast(DEVICE, torch.bfloat16):
        cast = torch.autograd.grad(loss(), parameters)
    for others in (torch.autograd.grad(compiled(), parameters), cast):
        for gradient, wanted in zip(others, expected, strict=True):
            assert gradient.dtype == wanted.dtype
            assert torch.equal(gradient, wanted), "repeats and compiled runs are equal to the bit"


@pytest.mark.skipif(not card.INTERPRETED, reason="a card trains in bfloat16")
def test_training_on_the_kernels_has_the_loss_curve_of_plain_training(tmp_path, monkeypatch):
    tiny = dataclasses.replace(weights.shipped_config("image", 5), emb_dim=8, num_encoder_layers=1)
    monkeypatch.setattr(weights, "shipped_config", lambda *_: tiny)
    # As a file for streaming these would have to be of the shipped size.
    monkeypatch.setattr("mixsynth_stream.train_loop.with_uncertainty", lambda *_, **__: None)
    clips, found = write_swings(tmp_path / "swing.npz"), {}
    for kernels in (False, True):
        path = train(
            small(clips, tmp_path / str(kernels), every=5, batch=1, steps=3, validate_every=3, kernels=kernels)
        )
        found[kernels], _, info = weights.load_weights(path)
        found[kernels]["metrics"] = torch.tensor(list(info.metrics.values())).numpy()
    for name, value in found[False].items():
        assert abs(value - found[True][name]).max(initial=0) < 1e-4, name


def test_training_on_the_kernels_is_refused_in_a_sentence(tmp_path, monkeypatch):
    clips = write_swings(tmp_path / "swing.npz")
    monkeypatch.setattr(card, "INTERPRETED", False)
    monkeypatch.setattr(autograd, "INTERPRETED", False)
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailableError, match="there is no CUDA device"):
            train(small(clips, tmp_path / "out", kernels=True))
    with pytest.raises(BackendUnavailableError, match="train on a CUDA device, found a tensor on the CPU"):
        encode(MixSynthFormer(ODD), torch.zeros(1, 3, 5), precision="strict")


@pytest.mark.parametrize(
    ("x", "error", "sentence"),
    [
        (torch.zeros(1, 8, 7), ValueError, r"x must have shape \[batch, 9, 7\], found \[1, 8, 7\]"),
        (torch.zeros(9, 7), ValueError, r"x must have shape \[batch, 9, 7\], found \[9, 7\]"),
        (torch.zeros(1, 9, 7, dtype=torch.float64), ValueError, "contiguous and float32, found .* torch.float64"),
        (torch.zeros(1, 9, 14)[..., ::2], ValueError, r"contiguous and float32, found strides \(126, 14, 2\)"),
    ],
    ids=["tokens", "rank", "dtype", "stride"],
)
def test_what_does_not_fit_the_weights_is_named(x, error, sentence):
    layer = [tensor.to(DEVICE) for tensor in leaves(layer_of(ONE_LAYER, torch.float32))]
    with pytest.raises(error, match=sentence):
        autograd.encoder_layer_op(x.to(DEVICE), layer, torch.zeros(1, dtype=torch.int64, device=DEVICE), 0.0, "strict")


def test_what_no_kernel_can_train_is_named():
    long = dataclasses.replace(ODD, sample_interval=600, num_encoder_layers=1)
    sentence = "at most 256 channels and 512 keys a branch .* found 7 and 601; train without them"
    with pytest.raises(BackendUnavailableError, match=sentence):
        training_tile(long, "bf16")
    with pytest.raises(BackendUnavailableError, match=sentence):
        encode(MixSynthFormer(long).to(DEVICE), torch.zeros(1, 3, 5, device=DEVICE), precision="strict")
    with pytest.raises(ValueError, match="precision must be one of strict, tf32, bf16, fp16, found 'fp8'"):
        autograd.use_kernels(MixSynthFormer(ODD), "fp8")


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_step_launches_is_told_to_those_who_compile_ahead(name):
    for kind in specialisations_backward(SHAPES[name], "bf16"):
        assert list(kind.signature) == list(kind.kernel.arg_names)

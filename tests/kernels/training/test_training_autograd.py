"""The layer as an op of torch: a network's gradients, dropout by a seed, compile and autocast, a short training."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.gradients import assert_gradients, leaves
from support.networks import ODD, random_state
from support.references import DEVICE, UNREDUCED, layer_of, random_like
from support.swing_clips import small, write_swings

from mixsynth_stream import weights
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels import card
from mixsynth_stream.kernels.training import autograd
from mixsynth_stream.kernels.training.autograd import encode
from mixsynth_stream.kernels.training.specialisations import layer_specialisations
from mixsynth_stream.kernels.weights import EncoderWeights
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.train.start import train

ONE_LAYER = dataclasses.replace(ODD, num_encoder_layers=1)


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
    gradients = [narrow.grad] + [p.grad for p in network.parameters() if p.grad is not None]
    assert_gradients(gradients, expected, 5e-5)


def test_a_seed_decides_the_dropout_and_the_gradient_is_the_slope_under_it():
    network = network_of(ONE_LAYER, 0.3).train()
    keyframes = random_like(1, ONE_LAYER.num_keyframes, ONE_LAYER.joint_dim).float().to(DEVICE)

    def loss(seed: int) -> torch.Tensor:
        return encode(network, keyframes, precision="strict", seed=seed).square().sum()

    first = loss(1)
    assert torch.equal(first, loss(1))
    assert not torch.equal(first, loss(2))
    first.backward()
    slope, step, moves = 0.0, 2e-3, []
    for parameter in network.parameters():
        if parameter.numel():
            direction = torch.sign(parameter.grad) * parameter.grad.abs().mean()
            slope += float((direction * parameter.grad).sum())
            moves.append((parameter, direction))
    size = sum(float(direction.square().sum()) for _, direction in moves) ** 0.5
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in moves:
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
        for gradient, truth in zip(others, expected, strict=True):
            assert gradient.dtype == truth.dtype
            assert torch.equal(gradient, truth), "repeats and compiled runs are equal to the bit"


@pytest.mark.skipif(not card.INTERPRETED, reason="a card trains in bfloat16")
def test_training_on_the_kernels_has_the_loss_curve_of_plain_training(tmp_path, monkeypatch):
    tiny = dataclasses.replace(weights.shipped_config("image", 5), emb_dim=8, num_encoder_layers=1)
    monkeypatch.setattr(weights, "shipped_config", lambda *_: tiny)
    # As a file for streaming these would have to be of the shipped size.
    monkeypatch.setattr("mixsynth_stream.train.mocap.with_uncertainty", lambda *_, **__: None)
    clips, weights_of = write_swings(tmp_path / "swing.npz"), {}
    for kernels in (False, True):
        path = train(
            small(clips, tmp_path / str(kernels), every=5, batch=1, steps=2, validate_every=2, kernels=kernels)
        )
        weights_of[kernels], _, info = weights.load_weights(path)
        weights_of[kernels]["metrics"] = torch.tensor(list(info.metrics.values())).numpy()
    for name, value in weights_of[False].items():
        assert abs(value - weights_of[True][name]).max(initial=0) < 1e-4, name


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
        layer_specialisations(long, "bf16")
    with pytest.raises(BackendUnavailableError, match=sentence):
        autograd.use_kernels(MixSynthFormer(long), "bf16")
    with pytest.raises(BackendUnavailableError, match=sentence):
        encode(MixSynthFormer(long).to(DEVICE), torch.zeros(1, 3, 5, device=DEVICE), precision="strict")
    with pytest.raises(ValueError, match="precision must be one of strict, tf32, bf16, fp16, found 'fp8'"):
        autograd.use_kernels(MixSynthFormer(ODD), "fp8")

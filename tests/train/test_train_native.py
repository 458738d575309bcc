"""Training on the native extension: gradients against torch's in float64, and what cannot be trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
import torch
from torch import Tensor, nn

from mixsynth_stream import _C
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.network import EncoderLayer, MixSynthFormer
from mixsynth_stream.presets import shipped_config
from mixsynth_stream.train.devices import use_fast_layers
from mixsynth_stream.train.native import use_native, use_torch

REGISTERS = [bits for bits in (128, 256, 512) if bits <= _C.simd_bits()]
SHAPES = {
    "image-n10": shipped_config("image", 10),
    "world-n5": shipped_config("world", 5),
    "keys of both kinds reduced, no width a multiple of a register": ModelConfig(
        sample_interval=7, step=3, joint_dim=9, emb_dim=21, num_encoder_layers=1, reduce_token=3, reduce_channel=2
    ),
    "nothing in the middle of squeeze-excite": ModelConfig(
        sample_interval=1, step=1, joint_dim=3, emb_dim=3, num_encoder_layers=1
    ),
    "channels in panels": ModelConfig(
        sample_interval=5, step=2, joint_dim=9, emb_dim=130, num_encoder_layers=1, expansion_factor=1, reduce_channel=4
    ),
}


def _layer(shape: ModelConfig) -> tuple[EncoderLayer, dict[str, np.ndarray]]:
    """A layer in float64 with float32's numbers, none of them at zero, and these numbers."""
    torch.manual_seed(0)
    layer = EncoderLayer(shape, 0.0)
    for parameter in layer.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    state = {name: value.numpy().copy() for name, value in layer.state_dict().items()}
    return layer.double(), state


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("bits", REGISTERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_are_those_of_the_network(shape: ModelConfig, bits: int) -> None:
    layer, state = _layer(shape)
    x, d_out = torch.randn(2, 3, shape.seq_len, shape.emb_dim)
    exact = x.double().requires_grad_()
    out = layer(exact)
    out.backward(d_out.double())
    native = _C.TrainedLayer(simd_bits=bits, **asdict(shape))
    np.testing.assert_allclose(native.forward(x.numpy(), state, 2), out.detach(), atol=2e-5)
    d_x, gradients = native.backward(x.numpy(), d_out.numpy(), state, threads=2)
    assert exact.grad is not None
    np.testing.assert_allclose(d_x, exact.grad, atol=1e-5 * float(exact.grad.abs().max()))
    used = {name: weight.grad for name, weight in layer.named_parameters() if weight.grad is not None}
    assert gradients.keys() == used.keys() == set(native.names)
    for name, gradient in used.items():
        largest = float(gradient.abs().max()) if gradient.numel() else 0.0
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-5 * largest, err_msg=name)


@pytest.mark.parametrize("dropout", [{}, {"dropout": 0.5, "seed": 3}], ids=["all", "half"])
@pytest.mark.parametrize("threads", [2, 3, 256])
@pytest.mark.parametrize("batch", [0, 1, 8, 21])
def test_threads_that_share_a_batch_change_no_gradient(batch: int, threads: int, dropout: dict[str, Any]) -> None:
    shape = next(iter(SHAPES.values()))
    _, state = _layer(shape)
    x, d_out = torch.randn(2, batch, shape.seq_len, shape.emb_dim).numpy()
    native = _C.TrainedLayer(**asdict(shape))
    np.testing.assert_array_equal(native.forward(x, state, threads, **dropout), native.forward(x, state, **dropout))
    (d_x, gradients), (d_x_alone, alone) = (native.backward(x, d_out, state, n, **dropout) for n in (threads, 1))
    np.testing.assert_array_equal(d_x, d_x_alone)
    for name, gradient in alone.items():
        np.testing.assert_array_equal(gradients[name], gradient, err_msg=name)


def test_a_step_of_training_is_the_step_that_torch_makes() -> None:
    shape = shipped_config("image", 5)
    torch.manual_seed(0)
    plain = MixSynthFormer(shape, dropout=0.0)
    plain.fc.weight.data.normal_(std=0.05)  # untrained it is zero, and the layers get no gradient
    native = MixSynthFormer(shape, dropout=0.0)
    native.load_state_dict(plain.state_dict())
    use_native(native)
    keyframes, truth = torch.randn(5, 5, shape.joint_dim), torch.randn(5, shape.seq_len, shape.joint_dim)
    for network in (plain, native):
        ((network(keyframes) - truth) ** 2).mean().backward()
    for (name, one), other in zip(plain.named_parameters(), native.parameters(), strict=True):
        if one.grad is None:
            assert other.grad is None, name
        else:
            assert other.grad is not None, name
            torch.testing.assert_close(other.grad, one.grad, atol=1e-5 * float(one.grad.abs().max()), rtol=0, msg=name)


def test_a_weight_changed_before_the_backward_pass_is_noticed() -> None:
    network = MixSynthFormer(shipped_config("image", 5), dropout=0.0)
    use_native(network)
    loss = network(torch.randn(1, 5, network.config.joint_dim)).sum()
    with torch.no_grad():
        network.encoder.layers[0].ff.fc1.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_layers_go_back_to_torch() -> None:
    network = MixSynthFormer(shipped_config("image", 5), dropout=0.0)
    x = torch.randn(2, network.config.seq_len, network.config.emb_dim)
    plain = network.encoder(x)
    use_native(network)
    native = network.encoder(x)
    use_torch(network)
    assert torch.equal(network.encoder(x), plain)
    assert 0 < (native - plain).abs().max() < 1e-4


SHARE, SEED = 0.1, 2**61 + 12345


class Masks(nn.Module):
    """In the place of a dropout: the next of some factors at each call."""

    def __init__(self, *factors: np.ndarray) -> None:
        super().__init__()
        self._factors = list(factors)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.from_numpy(self._factors.pop(0))


def factors(shape: ModelConfig, windows: int, place: int, seed: int = SEED) -> np.ndarray:  # [B, T, numbers]
    """What csrc/cpu/dropout.h multiplies by behind proj (0), GELU (1) and ff.fc2 (2)."""
    numbers = shape.emb_dim * (shape.expansion_factor if place == 1 else 1)
    padded = -(-numbers // 16) * 16
    i = np.arange(shape.seq_len * padded, dtype=np.uint32)
    rows = []
    for window in range(windows):
        key = (seed + (3 * window + place + 1) * 0x9E3779B97F4A7C15) % 2**64
        key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        key = (key ^ key >> 27) * 0x94D049BB133111EB % 2**64
        key ^= key >> 31
        bits = i ^ np.uint32(key % 2**32)
        bits = (bits ^ bits >> 16) * np.uint32(0x7FEB352D)
        bits = ((bits ^ bits >> 15) + np.uint32(key >> 32)) * np.uint32(0x846CA68B)
        bits ^= bits >> 16
        kept = bits >= np.uint32(np.float64(np.float32(SHARE)) * 2**32)
        rows.append((kept / (1 - np.float64(np.float32(SHARE)))).reshape(shape.seq_len, padded)[:, :numbers])
    return np.stack(rows)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("bits", REGISTERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_with_dropout_are_those_of_the_same_masks(shape: ModelConfig, bits: int) -> None:
    layer, state = _layer(shape)
    proj, hidden, out_masks = (factors(shape, 3, place) for place in range(3))
    layer.synth_att.dropout, layer.ff.dropout = Masks(proj), Masks(hidden, out_masks)  # type: ignore[assignment]
    x, d_out = torch.randn(2, 3, shape.seq_len, shape.emb_dim)
    exact = x.double().requires_grad_()
    out = layer(exact)
    out.backward(d_out.double())
    native, dropout = _C.TrainedLayer(simd_bits=bits, **asdict(shape)), {"dropout": SHARE, "seed": SEED}
    np.testing.assert_allclose(native.forward(x.numpy(), state, 2, **dropout), out.detach(), atol=3e-5)
    d_x, gradients = native.backward(x.numpy(), d_out.numpy(), state, 2, **dropout)
    assert exact.grad is not None
    np.testing.assert_allclose(d_x, exact.grad, atol=2e-5 * float(exact.grad.abs().max()))
    for name, weight in layer.named_parameters():
        if weight.grad is not None:
            largest = float(weight.grad.abs().max()) if weight.numel() else 0.0
            np.testing.assert_allclose(gradients[name], weight.grad, atol=2e-5 * largest, err_msg=name)


def test_dropout_leaves_out_its_share_everywhere_and_keeps_the_mean() -> None:
    shape = SHAPES["image-n10"]
    masks = np.concatenate([factors(shape, 64, place) for place in range(3)], axis=-1)
    assert sorted(set(masks.ravel())) == [0, pytest.approx(1 / (1 - SHARE), abs=1e-7)]
    assert masks.mean() == pytest.approx(1, abs=1e-3)
    # The standard error of a mean over 64 windows is 0.04, and of one over all tokens 0.005.
    assert np.abs(masks.mean(axis=(0, 1)) - 1).max() < 0.03
    assert np.abs(masks.mean(axis=(1, 2)) - 1).max() < 0.01
    assert np.abs(masks.mean(axis=0) - 1).max() < 0.25
    # No two windows leave out the same.
    assert np.abs(np.corrcoef(masks.reshape(64, -1)) - np.eye(64)).max() < 0.03


def test_dropout_follows_the_random_numbers_of_torch_and_stops_in_evaluation() -> None:
    shape = shipped_config("image", 5)
    network = MixSynthFormer(shape, dropout=0.3)
    use_native(network, threads=3)
    x = torch.randn(9, shape.seq_len, shape.emb_dim)
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(network.encoder(x))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(network.encoder(x), network.encoder(x))
    network.eval()
    before = torch.get_rng_state()
    evaluated = network.encoder(x)
    assert torch.equal(torch.get_rng_state(), before)
    plain = MixSynthFormer(shape, dropout=0.0)
    plain.load_state_dict(network.state_dict())
    use_native(plain)
    assert torch.equal(evaluated, plain.encoder(x))


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_on_a_cpu_the_layers_are_native_and_torch_spins_no_threads(dropout: float) -> None:
    network, threads = MixSynthFormer(shipped_config("image", 5), dropout), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        use_fast_layers(network, "cpu", draws_long=False)
        assert torch.get_num_threads() == 1 and "forward" in vars(network.encoder)
    finally:
        torch.set_num_threads(threads)


def test_what_takes_too_much_memory_in_training_is_refused() -> None:
    shape = ModelConfig(sample_interval=8000, step=1, joint_dim=3, emb_dim=8, num_encoder_layers=1)
    with pytest.raises(ValueError, match="in training would need more than 1 GiB of memory; found"):
        _C.TrainedLayer(**asdict(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((2, 3, 4), np.float32)}, r"x must have shape \[-1, 44, 64\], found \[2, 3, 4\]"),
        ({"x": np.zeros((2, 44, 64))}, "x must be float32, found float64"),
        ({"d_out": np.zeros((1, 44, 64), np.float32)}, r"d_out must have shape \[2, 44, 64\], found \[1, 44, 64\]"),
        ({"state": []}, "state must be a dict of numpy arrays, found list"),
        ({"state": {}}, "state lacks synth_att.synth_token.dense.weight"),
        ({"threads": 0}, "threads must be from 1 to 256, found 0"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1, found float 1.0"),
        ({"dropout": float("nan")}, "dropout must be from 0 to below 1, found float nan"),
        ({"dropout": "a"}, "dropout must be from 0 to below 1, found str 'a'"),
        ({"seed": 0.5}, "seed must be a whole number, found float 0.5"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, object], message: str) -> None:
    shape = shipped_config("image", 5)
    x = np.zeros((2, shape.seq_len, shape.emb_dim), np.float32)
    arguments = {"x": x, "d_out": x, "state": _layer(shape)[1], "threads": 1} | change
    with pytest.raises((TypeError, ValueError), match=message):
        _C.TrainedLayer(**asdict(shape)).backward(**arguments)

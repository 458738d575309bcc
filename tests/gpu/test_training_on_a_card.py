"""Training on the kernels, on a CUDA device: gradients at full shapes, and the losses of a short training.

It is a file and so a process of its own in `make gpu`, because a kernel that reads out of bounds fails all after it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from card import DROPPED, DROPPED_PRECISIONS, LARGE, TRAINED, skip_or_fail, why_not

if reason := why_not():
    skip_or_fail(reason)

import torch
from torch import Tensor

from mixsynth_stream.bench.kernels.contenders import GRADIENT_TOLERANCE, TRAINING, Case
from mixsynth_stream.bench.kernels.run import gradient_error, network_of
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.kernels.training.autograd import encode, encode_layers, use_kernels
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.parameters import random_state
from mixsynth_stream.presets import published_shapes

SEEDS = (0, 1, 2)
# Losses are averaged over as many steps: a step's own loss says more of its batch than of the network.
STRETCH = 10


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", TRAINED)
def test_gradients(name: str, precision: str) -> None:
    case = Case(name, *network_of(name), 33, torch.device("cuda"))
    step: Callable[[], Any] = TRAINING[f"kernels {precision}"].make(case)
    error = gradient_error(step(), case.true_gradients)
    assert error <= GRADIENT_TOLERANCE[precision], f"off by {error:.1e}"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", LARGE)
def test_gradients_of_large_windows(name: str, precision: str) -> None:
    case = Case(name, LARGE[name], random_state(LARGE[name]), 5, torch.device("cuda"))
    step: Callable[[], Any] = TRAINING[f"kernels {precision}"].make(case)
    error = gradient_error(step(), case.true_gradients)
    assert error <= GRADIENT_TOLERANCE[precision], f"off by {error:.1e}"


@pytest.mark.parametrize("name", [*LARGE, "3dpw"])
def test_strict_is_strict_though_torch_may_take_tf32(name: str) -> None:
    config = (published_shapes() | LARGE)[name]
    network = MixSynthFormer(config, dropout=0.1).to("cuda").train()
    x = torch.randn(5, config.seq_len, config.emb_dim, device="cuda")
    layers = [p for p in network.encoder.parameters() if p.numel()]

    def gradients() -> tuple[Tensor, ...]:
        loss = encode_layers(network, x, precision="strict", seed=5).square().mean()
        return torch.autograd.grad(loss, layers, allow_unused=True, materialize_grads=True)

    exact, matmul = gradients(), torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        assert all(map(torch.equal, gradients(), exact))
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


@pytest.mark.parametrize("name", [*LARGE, *DROPPED])
def test_a_step_with_dropout_repeats_to_the_bit(name: str) -> None:
    """A missing barrier between a thread that writes memory and one that reads it shows here."""
    config = (published_shapes() | LARGE)[name]
    network = MixSynthFormer(config, dropout=0.1).to("cuda").train()
    keyframes = torch.randn(65, config.num_keyframes, config.joint_dim, device="cuda", requires_grad=True)
    inputs = [keyframes, *(p for p in network.parameters() if p.numel())]

    def gradients() -> tuple[Tensor, ...]:
        loss = encode(network, keyframes, precision="bf16", seed=5).square().mean()
        return torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)

    first = gradients()
    for _ in range(10):
        assert all(map(torch.equal, gradients(), first))


@pytest.mark.parametrize("precision", DROPPED_PRECISIONS)
@pytest.mark.parametrize("name", DROPPED)
def test_losses_are_those_of_plain_training(name: str, precision: str) -> None:
    run = functools.partial(_curves, published_shapes()[name], steps=200, batch=64, device="cuda")
    assert_same_curves(run(100), run(200), run(100, precision))


def assert_same_curves(plain: Tensor, other: Tensor, kernels: Tensor) -> None:  # [seeds, stretches] each
    """`other` is plain with other dropout."""
    assert (plain[:, -1] < 0.97 * plain[:, 0]).all(), f"nothing was learned: {plain.tolist()}"
    noise = (other - plain).abs().max()
    assert noise > 0, "dropout changes nothing"
    difference = (kernels - plain).mean(0).abs().max()
    assert difference <= noise, (
        f"losses differ by {difference:.2e}, and by {noise:.2e} where only the dropout is another"
    )


@functools.cache
def _curves(
    config: ModelConfig, dropout: int, precision: str | None = None, *, steps: int, batch: int, device: str
) -> Tensor:  # [seeds, steps / STRETCH]
    """Plain, or on the kernels; weights and data by seed."""

    def prepare(network: MixSynthFormer) -> None:
        if precision is not None:
            use_kernels(network, precision)

    losses = [_losses(config, seed, dropout + seed, prepare, steps=steps, batch=batch, device=device) for seed in SEEDS]
    return torch.stack(losses)


def _losses(
    config: ModelConfig,
    seed: int,
    dropout_seed: int,
    prepare: Callable[[MixSynthFormer], None],
    *,
    steps: int,
    batch: int,
    device: str,
) -> Tensor:  # [steps / STRETCH]
    torch.manual_seed(seed)
    network = MixSynthFormer(config, dropout=0.1).to(device).train()
    prepare(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(dropout_seed)
    losses = torch.empty(steps)
    for step in range(steps):
        keyframes, motion = (part.to(device) for part in _swings(config, batch, random))
        loss = (network(keyframes) - motion).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
    return losses.unflatten(0, (-1, STRETCH)).mean(1)


def _swings(
    config: ModelConfig, batch: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:  # [B, Q+1, D], [B, T, D]
    """Swings about a place of their own, of one amplitude and tempo a window, and their keyframes with noise."""
    size, tempo = (torch.rand(batch, 1, 1, generator=random) for _ in range(2))
    phase, place = (torch.rand(batch, 1, config.joint_dim, generator=random) for _ in range(2))
    time = torch.arange(config.seq_len)[None, :, None] / config.sample_interval
    motion = place + size * torch.sin(tempo * time + 6.3 * phase)
    keyframes = motion[:, : config.num_keyframes * config.sample_interval : config.sample_interval]
    return keyframes + 0.1 * torch.randn(keyframes.shape, generator=random), motion

"""A short training on the kernels has the losses of plain training, within what other dropout changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from card import EXPECTED, why_not

if reason := why_not():
    if EXPECTED:
        pytest.fail(f"a CUDA device was expected here, and {reason}", pytrace=False)
    pytest.skip(f"{reason}; `make gpu` runs these", allow_module_level=True)

import torch
from torch import Tensor

from mixsynth_stream.bench_shapes import published_shapes
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.autograd import use_kernels
from mixsynth_stream.network import MixSynthFormer

SEEDS = (0, 1, 2)
# Losses are averaged over as many steps: a step's own loss says more of its batch than of the network.
STRETCH = 10


@pytest.mark.parametrize("precision", ["strict", "bf16"])
@pytest.mark.parametrize("name", ["jhmdb", "3dpw"])
def test_losses_are_those_of_plain_training(name: str, precision: str) -> None:
    plain, other, kernels = loss_curves(published_shapes()[name], precision, steps=200, batch=64, device="cuda")
    assert_same_curves(plain, other, kernels)


def assert_same_curves(plain: Tensor, other: Tensor, kernels: Tensor) -> None:  # [seeds, stretches] each
    assert (plain[:, -1] < 0.97 * plain[:, 0]).all(), f"nothing was learned: {plain.tolist()}"
    noise = (other - plain).abs().max()
    assert noise > 0, "dropout changes nothing"
    found = (kernels - plain).mean(0).abs().max()
    assert found <= noise, f"losses differ by {found:.2e}, and by {noise:.2e} where only the dropout is another"


def loss_curves(
    config: ModelConfig, precision: str, *, steps: int, batch: int, device: str
) -> tuple[Tensor, Tensor, Tensor]:  # [seeds, steps / STRETCH] each
    """Plain, plain with other dropout, and on the kernels; weights and data by seed."""

    def curves(dropout: int, prepare: Callable[[MixSynthFormer], None] | None = None) -> Tensor:
        found = [
            _losses(config, seed, dropout + seed, prepare, steps=steps, batch=batch, device=device) for seed in SEEDS
        ]
        return torch.stack(found)

    return curves(100), curves(200), curves(100, lambda network: use_kernels(network, precision))


def _losses(
    config: ModelConfig,
    seed: int,
    dropout_seed: int,
    prepare: Callable[[MixSynthFormer], None] | None,
    *,
    steps: int,
    batch: int,
    device: str,
) -> Tensor:  # [steps / STRETCH]
    torch.manual_seed(seed)
    network = MixSynthFormer(config, dropout=0.1).to(device).train()
    if prepare:
        prepare(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    drawn = torch.Generator().manual_seed(seed)
    torch.manual_seed(dropout_seed)
    losses = torch.empty(steps)
    for step in range(steps):
        keyframes, motion = (part.to(device) for part in _swings(config, batch, drawn))
        loss = (network(keyframes) - motion).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
    return losses.unflatten(0, (-1, STRETCH)).mean(1)


def _swings(config: ModelConfig, batch: int, drawn: torch.Generator) -> tuple[Tensor, Tensor]:  # [B, Q+1, D], [B, T, D]
    """Swings about a place of their own, of one amplitude and tempo a window, and their keyframes with noise."""
    size, tempo = (torch.rand(batch, 1, 1, generator=drawn) for _ in range(2))
    phase, place = (torch.rand(batch, 1, config.joint_dim, generator=drawn) for _ in range(2))
    time = torch.arange(config.seq_len)[None, :, None] / config.sample_interval
    motion = place + size * torch.sin(tempo * time + 6.3 * phase)
    keyframes = motion[:, : config.num_keyframes * config.sample_interval : config.sample_interval]
    return keyframes + 0.1 * torch.randn(keyframes.shape, generator=drawn), motion

"""References beside which the kernels are held: weights, inputs and errors. Without Triton, their tests are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="Triton is not installed: `pip install mixsynth-stream[gpu]`")

import torch
from support import networks

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels import card, ref
from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.kernels.weights import EncoderWeights, LayerWeights

DEVICE = "cpu" if card.INTERPRETED else "cuda"
# The interpreter gets bf16 wrong, and its strict is float32.
RUNNABLE = ("strict", "fp16") if card.INTERPRETED else PRECISIONS
# Largest error against float64 at outputs of size 5.
TOLERANCE = {"strict": 2e-5, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2}
# One layer in which nothing is reduced.
UNREDUCED = ModelConfig(
    sample_interval=4,
    step=3,
    horizon=2,
    joint_dim=6,
    emb_dim=20,
    num_encoder_layers=1,
    reduce_token=1,
    reduce_channel=1,
)
# For ops on three windows: with two or four in a program the last one is not full.
OP_CASES = pytest.mark.parametrize(
    ("config", "windows"), [(networks.ODD, 1), (networks.ODD, 4), (UNREDUCED, 1), (UNREDUCED, 2)], ids=str
)


def layer_of(config: ModelConfig, dtype: torch.dtype = torch.float64, device: str = "cpu") -> LayerWeights:
    """The first layer of a network with random weights."""
    state = networks.random_state(config)
    return EncoderWeights.of({name: torch.from_numpy(value).to(device, dtype) for name, value in state.items()}).layers[
        0
    ]


def random_like(*shape: int, seed: int = 3) -> torch.Tensor:  # float64, on the CPU
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_x(config: ModelConfig, batch: int) -> torch.Tensor:  # [B, T, C] float32
    return torch.randn(batch, config.seq_len, config.emb_dim, generator=torch.Generator().manual_seed(7)).to(DEVICE)


def assert_near(result: torch.Tensor, expected: torch.Tensor, precision: str, what: str) -> None:
    networks.assert_close(result.cpu().numpy(), expected.cpu().numpy(), TOLERANCE[precision], what)


def check_encoder(config: ModelConfig, batch: int, precision: str, capability: tuple[int, int] | None = None) -> None:
    """The whole network on the kernels, as on a card of `capability`, gives what its reference gives in float64."""
    state, keyframes = networks.random_state(config), networks.random_keyframes(config, batch)
    encoder = Encoder(state, config, precision=precision, capability=capability)
    out = torch.full((batch, config.seq_len, config.joint_dim), float("nan"), device=DEVICE)
    encoder(torch.from_numpy(keyframes).to(DEVICE), out)
    wide = EncoderWeights.of({name: torch.from_numpy(value).double() for name, value in state.items()})
    expected = ref.encoder_ref(torch.from_numpy(keyframes).double(), wide)
    assert_near(out, expected, precision, f"motion of {config}")

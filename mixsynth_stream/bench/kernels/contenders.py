"""Contenders of `bench kernels`: the fused kernels, and what torch makes of the readable network on the same card.

Every contender is made from a case and is then called without arguments, on keyframes that already lie on the device.
In the forward it returns motion [B, T, D]; in a training step it returns the gradients of all parameters, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.kernels.training.autograd import encode
from mixsynth_stream.network import MixSynthFormer

EAGER, COMPILED, REDUCED, GRAPH = "eager", "torch.compile", "torch.compile reduce-overhead", "CUDA graph of eager"
# A compiler works on these for a minute.
SLOW_TO_MAKE = (COMPILED, REDUCED)
# Largest error at outputs of size 5; the peers run in float32.
TOLERANCE = {"strict": 2e-5, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2, "fp32": 2e-5}
# Largest relative error of a parameter's gradient, in its Euclidean norm.
GRADIENT_TOLERANCE = {"strict": 1e-3, "tf32": 2e-2, "bf16": 1e-1, "fp16": 2e-2, "fp32": 1e-3}
# The type of the card's ceiling that a precision is held against.
CEILING = {"strict": "tf32", "tf32": "tf32", "bf16": "bf16", "fp16": "fp16", "fp32": "fp32"}
# Windows that float64 works on at once.
_CHUNK = 256


class Case:
    """One network and one batch on a device."""

    def __init__(
        self, name: str, config: ModelConfig, state: Mapping[str, np.ndarray], batch: int, device: torch.device
    ) -> None:
        self.name, self.config, self.state, self.batch, self.device = name, config, state, batch, device
        random = torch.Generator().manual_seed(batch)
        shape = (batch, config.num_keyframes, config.joint_dim)
        # The keyframes are a pose and steps away from it. Noise is no motion: trained networks answer it with large
        # numbers that rounding decides, with up to seven times the error in bf16 (emulated).
        poses = torch.randn(shape, generator=random)
        self.keyframes = (poses[:, :1] + 0.15 * (poses - poses[:, :1]).cumsum(1)).to(device)
        self.target = torch.randn((batch, config.seq_len, config.joint_dim), generator=random).to(device)

    def network(self) -> MixSynthFormer:
        """The readable network in float32, a new one in every call."""
        network = MixSynthFormer(self.config).eval().requires_grad_(False)
        network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in self.state.items()})
        return network.to(self.device)

    @cached_property
    def truth(self) -> Tensor:  # [B, T, D] float64
        network = self.network().double()
        with torch.inference_mode():
            return torch.cat([network(chunk.double()) for chunk in self.keyframes.split(_CHUNK)])

    @cached_property
    def true_gradients(self) -> dict[str, Tensor]:
        """Of the mean squared error against `target`, in float64; the absolute error's gradient would jump."""
        network = self.network().double().requires_grad_(True)
        for chunk, target in zip(self.keyframes.split(_CHUNK), self.target.split(_CHUNK), strict=True):
            ((network(chunk.double()) - target.double()).square().sum() / self.target.numel()).backward()
        return _gradients(network)


@dataclass(frozen=True)
class Contender:
    """How a contender is made of a `Case`, or of the case of an op, and the precision that it is held to.

    Its largest error is that of the precision, unless `tolerance` is another.
    """

    make: Callable[[Any], Callable[[], Any]]
    precision: str
    tolerance: float | None = None


def _eager(case: Case) -> Callable[[], Tensor]:
    return _inferring(case.network(), case)


def _compiled(mode: str) -> Callable[[Case], Callable[[], Tensor]]:
    def make(case: Case) -> Callable[[], Tensor]:
        if mode == "default":  # only the first of the two resets: the second must not discard what the first compiled
            torch.compiler.reset()
        return _inferring(torch.compile(case.network(), dynamic=False, mode=mode), case)

    return make


def _inferring(network: Callable[[Tensor], Tensor], case: Case) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.inference_mode():
            return network(case.keyframes)

    return call


def _graph(case: Case) -> Callable[[], Tensor]:
    """A graph with the copy of its input, which the kernels' own graph makes too."""
    network, keyframes = case.network(), case.keyframes.clone()
    side = torch.cuda.Stream(case.device)
    side.wait_stream(torch.cuda.current_stream(case.device))
    with torch.cuda.stream(side), torch.inference_mode():
        for _ in range(3):
            network(keyframes)
    torch.cuda.current_stream(case.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        out = network(keyframes)

    # The network comes along, because the graph reads its weights wherever they lie.
    def call(_: Any = network) -> Tensor:
        keyframes.copy_(case.keyframes)
        graph.replay()
        return out

    return call


def _kernels(precision: str) -> Callable[[Case], Callable[[], Tensor]]:
    def make(case: Case) -> Callable[[], Tensor]:
        encoder = Encoder(case.state, case.config, precision=precision, device=case.device)
        return _inferring(encoder, case)

    return make


def _kernels_graph(precision: str) -> Callable[[Case], Callable[[], Tensor]]:
    def make(case: Case) -> Callable[[], Tensor]:
        encoder = Encoder(case.state, case.config, precision=precision, device=case.device)
        return _inferring(encoder.capture(case.batch), case)

    return make


FORWARD: dict[str, Contender] = {
    EAGER: Contender(_eager, "fp32"),
    COMPILED: Contender(_compiled("default"), "fp32"),
    REDUCED: Contender(_compiled("reduce-overhead"), "fp32"),
    GRAPH: Contender(_graph, "fp32"),
    **{f"kernels {precision}": Contender(_kernels(precision), precision) for precision in PRECISIONS},
    **{f"kernels {precision}, graph": Contender(_kernels_graph(precision), precision) for precision in PRECISIONS},
}


def _gradients(network: torch.nn.Module) -> dict[str, Tensor]:
    """Gradients of the parameters that take part: value_reduce does not where nothing is reduced."""
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def _step(case: Case, network: MixSynthFormer, forward: Callable[[Tensor], Tensor]) -> Callable[[], dict[str, Tensor]]:
    """Forward and backward of a loss. The optimiser is the same for all contenders, and left out."""

    def call() -> dict[str, Tensor]:
        network.zero_grad(set_to_none=True)
        (forward(case.keyframes) - case.target).square().mean().backward()
        return _gradients(network)

    return call


def _eager_step(case: Case) -> Callable[[], dict[str, Tensor]]:
    network = case.network().requires_grad_(True)
    return _step(case, network, network)


def _compiled_step(case: Case) -> Callable[[], dict[str, Tensor]]:
    torch.compiler.reset()
    network = case.network().requires_grad_(True)
    return _step(case, network, torch.compile(network, dynamic=False))


def _kernels_step(precision: str) -> Callable[[Case], Callable[[], dict[str, Tensor]]]:
    def make(case: Case) -> Callable[[], dict[str, Tensor]]:
        network = case.network().requires_grad_(True)
        return _step(case, network, lambda keyframes: encode(network, keyframes, precision=precision))

    return make


TRAINING: dict[str, Contender] = {
    EAGER: Contender(_eager_step, "fp32"),
    COMPILED: Contender(_compiled_step, "fp32"),
    **{f"kernels {precision}": Contender(_kernels_step(precision), precision) for precision in PRECISIONS},
}

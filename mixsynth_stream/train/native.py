"""Native layers: on a CPU the extension runs an encoder layer, one call forward and one backward.

The maths is that of `network.EncoderLayer` without dropout, in float32. A layer saves its input only. The backward pass
computes all else again, window by window, which takes no more time than fetching it from memory.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixsynth_stream import _C
from mixsynth_stream.network import MixSynthFormer


def has_dropout(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())


def use_native(network: MixSynthFormer, threads: int = 1, forward_threads: int | None = None) -> None:
    """Run the network's layers in the native extension from now on. It shares each batch among `threads`.

    `forward_threads` is the number for forward passes, where other work runs at the same time: with more threads than
    cores the last part would wait for its turn. Results do not depend on the number of threads.

    Raises `ValueError` for a network with dropout, which the extension does not have.
    """
    if has_dropout(network):
        raise ValueError("the native layers have no dropout, and this network has; train its layers with torch")
    native = _C.TrainedLayer(**asdict(network.config))
    layers = [_Layer(native, layer, threads, forward_threads or threads) for layer in network.encoder.layers]

    def forward(x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        for layer in layers:
            x = _Call.apply(x, layer, *layer.active.values())
        return x

    network.encoder.forward = forward  # type: ignore[method-assign]


def use_torch(network: MixSynthFormer) -> None:
    """Run the network's layers in torch again from now on."""
    network.encoder.__dict__.pop("forward", None)


class _Layer:
    """A layer of the network and its weights. The `active` ones leave out value_reduce where its factor is 1."""

    def __init__(self, native: _C.TrainedLayer, layer: nn.Module, threads: int, forward_threads: int) -> None:
        self.native, self.threads, self.forward_threads = native, threads, forward_threads
        self._weights = dict(layer.named_parameters())
        self.active = {name: weight for name, weight in self._weights.items() if name in native.names}

    @property
    def state(self) -> dict[str, np.ndarray]:
        return {name: weight.detach().numpy() for name, weight in self._weights.items()}


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: _Layer, *active: Tensor) -> Tensor:
        ctx.layer = layer
        x = x.contiguous()
        # The weights are saved, too, so that autograd notices a change before the backward pass.
        ctx.save_for_backward(x, *active)
        return torch.from_numpy(layer.native.forward(x.numpy(), layer.state, layer.forward_threads))

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Any, ...]:
        x, layer = ctx.saved_tensors[0], ctx.layer
        d_x, gradients = layer.native.backward(x.numpy(), d_out.contiguous().numpy(), layer.state, layer.threads)
        return torch.from_numpy(d_x), None, *(torch.from_numpy(gradients[name]) for name in layer.active)

"""Gradients through the native extension: on a CPU an encoder layer is one call forward and one backward.

The maths is that of `network.EncoderLayer` without dropout, in float32. A layer saves its input and nothing else: what
its backward pass needs it makes again, window by window, which takes no more time than fetching it from memory.
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
    """From now on the network's layers run in the native extension, which shares each batch among `threads`.

    With `forward_threads`, so many run the forward passes, because there is other work meanwhile: with more threads
    than cores the last part waits for its turn. Results do not depend on the number of threads.

    Raises `ValueError` for a network with dropout, which the extension has not.
    """
    if has_dropout(network):
        raise ValueError("the native layers have no dropout, and this network has; train its layers with torch")
    native = _C.TrainedLayer(**asdict(network.config))
    layers = [_Layer(native, layer, threads, forward_threads or threads) for layer in network.encoder.layers]

    def forward(x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        for layer in layers:
            x = _Call.apply(x, layer, *layer.used.values())
        return x

    network.encoder.forward = forward  # type: ignore[method-assign]


def use_torch(network: MixSynthFormer) -> None:
    """From now on the network's layers run in torch again."""
    network.encoder.__dict__.pop("forward", None)


class _Layer:
    """A layer of the network and its weights, of which some have no part in it (value_reduce where its factor is 1)."""

    def __init__(self, native: _C.TrainedLayer, layer: nn.Module, threads: int, forward_threads: int) -> None:
        self.native, self.threads, self.forward_threads = native, threads, forward_threads
        self._weights = dict(layer.named_parameters())
        self.used = {name: weight for name, weight in self._weights.items() if name in native.names}

    @property
    def state(self) -> dict[str, np.ndarray]:
        return {name: weight.detach().numpy() for name, weight in self._weights.items()}


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: _Layer, *used: Tensor) -> Tensor:
        ctx.layer = layer
        x = x.contiguous()
        # With the weights, so that autograd finds out where one was changed before the way back.
        ctx.save_for_backward(x, *used)
        return torch.from_numpy(layer.native.forward(x.numpy(), layer.state, layer.forward_threads))

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Any, ...]:
        x, layer = ctx.saved_tensors[0], ctx.layer
        d_x, found = layer.native.backward(x.numpy(), d_out.contiguous().numpy(), layer.state, layer.threads)
        return torch.from_numpy(d_x), None, *(torch.from_numpy(found[name]) for name in layer.used)

"""Native layers: on a CPU the extension runs an encoder layer, one call forward and one backward.

The maths is that of `network.EncoderLayer`, in float32. A layer saves its input and the seed of its dropout only. The
backward pass computes all else again, window by window, which takes no more time than fetching it from memory.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixsynth_stream import _C
from mixsynth_stream.network import EncoderLayer, MixSynthFormer

# Seeds of dropout are drawn below it.
_SEEDS = 2**62


def use_native(network: MixSynthFormer, threads: int = 1, forward_threads: int | None = None) -> None:
    """Run the network's layers in the native extension from now on. It shares each batch among `threads`.

    `forward_threads` is the number for forward passes, where other work runs at the same time: with more threads than
    cores the last part would wait for its turn. Results do not depend on the number of threads. In training a network
    with dropout draws one seed a layer from torch's random numbers, and follows from it.
    """
    native = _C.TrainedLayer(**asdict(network.config))
    layers = [_Layer(native, layer, threads, forward_threads or threads) for layer in _encoder_layers(network)]

    def forward(x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        for layer in layers:
            x = _Call.apply(x, layer, *layer.active.values())
        return x

    network.encoder.forward = forward  # type: ignore[method-assign]


def use_torch(network: MixSynthFormer) -> None:
    """Run the network's layers in torch again from now on."""
    network.encoder.__dict__.pop("forward", None)


def _encoder_layers(network: MixSynthFormer) -> list[EncoderLayer]:
    return [layer for layer in network.encoder.layers if isinstance(layer, EncoderLayer)]


class _Layer:
    """A layer of the network and its weights. The `active` ones leave out value_reduce where its factor is 1."""

    def __init__(self, native: _C.TrainedLayer, layer: EncoderLayer, threads: int, forward_threads: int) -> None:
        self.native, self.threads, self.forward_threads = native, threads, forward_threads
        self._layer, self._weights = layer, dict(layer.named_parameters())
        self.active = {name: weight for name, weight in self._weights.items() if name in native.names}

    @property
    def state(self) -> dict[str, np.ndarray]:
        return {name: weight.detach().numpy() for name, weight in self._weights.items()}

    def draw_dropout(self) -> dict[str, float | int]:
        """The share that a pass of today leaves out, and the seed of what it leaves out."""
        dropout = self._layer.ff.dropout
        if not (dropout.training and dropout.p):
            return {}
        return {"dropout": dropout.p, "seed": int(torch.randint(_SEEDS, ()))}


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: _Layer, *active: Tensor) -> Tensor:
        ctx.layer, ctx.dropout = layer, layer.draw_dropout()
        x = x.contiguous()
        # The weights are saved, too, so that autograd notices a change before the backward pass.
        ctx.save_for_backward(x, *active)
        return torch.from_numpy(layer.native.forward(x.numpy(), layer.state, layer.forward_threads, **ctx.dropout))

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Any, ...]:
        x, layer = ctx.saved_tensors[0], ctx.layer
        arguments = x.numpy(), d_out.contiguous().numpy(), layer.state, layer.threads
        d_x, gradients = layer.native.backward(*arguments, **ctx.dropout)
        return torch.from_numpy(d_x), None, *(torch.from_numpy(gradients[name]) for name in layer.active)

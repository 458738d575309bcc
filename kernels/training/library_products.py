"""Library products: what torch's library multiplies in training: gradients of weights, and large windows."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def library_precision(precision: str) -> Iterator[None]:
    """Where `strict`, float32 stays float32, whatever torch may do elsewhere; its own setting is back at the end."""
    if precision != "strict":
        yield
        return
    matmul: Any = torch.backends.cuda.matmul
    # Torch 2.9 renamed it, and refuses to be asked by both names.
    name, exact = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    # Otherwise one thread would restore the setting of another.
    with _ONE_AT_A_TIME:
        before = getattr(matmul, name)
        setattr(matmul, name, exact)
        try:
            yield
        finally:
            setattr(matmul, name, before)


class OperandX(NamedTuple):
    """x as operands of its type, as rows and along time."""

    rows: Tensor  # [B, T, C]
    by_time: Tensor  # [T, B * C]

    @classmethod
    def of(cls, x: Tensor, operand: torch.dtype) -> OperandX:  # x [B, T, C]
        return cls(x.to(operand), x.transpose(0, 1).to(operand).flatten(1))


def linear_bwd(x: Tensor, d_out: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, i], [B, T, o] -> [o, i], [o]
    """Gradients of a Linear's weight and bias."""
    d_out = d_out.flatten(0, -2)
    return d_out.T @ x.flatten(0, -2), d_out.sum(0, dtype=torch.float32)


def linear_bwd_by_keys(d_out: Tensor, by_time: Tensor) -> tuple[Tensor, Tensor]:
    """Those of a Linear along time: [o, B, C], [T, B * C] -> [o, T], [o]."""
    d_out = d_out.flatten(1)
    return d_out @ by_time.T, d_out.sum(1, dtype=torch.float32)


def gate_weights_bwd(
    vectors: Tensor,  # [B, 2 * padded + 2 * squeezed], as the branches' kernels write them
    padded: int,
    length: int,
) -> tuple[Tensor, Tensor]:  # [length / 4, length], [length, length / 4]
    """Gradients of a gate's matrices, from four vectors of each window: two of `length`, two of a fourth of it."""
    long, short = vectors[:, : 2 * padded].unflatten(1, (2, -1)), vectors[:, 2 * padded :].unflatten(1, (2, -1))
    pooled, d_excited = long[..., :length].unbind(1)
    squeezed, d_squeezed = short[..., : length // 4].unbind(1)
    return d_squeezed.T @ pooled, d_excited.T @ squeezed


def reweight_weights_bwd(
    mean: Tensor,  # [B, T]
    d_difference: Tensor,  # [B, T]
    hidden: Tensor,  # [B, T/4], what GELU gave
    d_before: Tensor,  # [B, T/4], of what it took
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of both Linears that weigh the mixture."""
    # Each token has two scores, of which the kernels know the difference.
    weight, bias = (torch.stack((part, -part), dim=1).flatten(0, 1) for part in linear_bwd(hidden, d_difference))
    return *linear_bwd(mean, d_before), weight, bias

"""Products that torch's library makes in training: gradients of weights, and the products of large windows."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

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
    with _ONE_AT_A_TIME:  # or one thread would put back what another one has set
        before = getattr(matmul, name)
        setattr(matmul, name, exact)
        try:
            yield
        finally:
            setattr(matmul, name, before)


def linear_bwd(x: Tensor, d_out: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, i], [B, T, o] -> [o, i], [o]
    """Gradients of a Linear's weight and bias."""
    d_out = d_out.flatten(0, -2)
    return d_out.T @ x.flatten(0, -2), d_out.sum(0, dtype=torch.float32)


def linear_bwd_by_keys(d_out: Tensor, by_time: Tensor) -> tuple[Tensor, Tensor]:
    """Those of a Linear along time: [o, B, C], [T, B * C] -> [o, T], [o]."""
    d_out = d_out.flatten(1)
    return d_out @ by_time.T, d_out.sum(1, dtype=torch.float32)


def reweight_bwd(
    mean: Tensor,  # [B, T]
    d_difference: Tensor,  # [B, T]
    hidden: Tensor,  # [B, T/4], what GELU gave
    d_before: Tensor,  # [B, T/4], of what it took
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of both Linears that weigh the mixture."""
    # Two scores a token, of which the kernels know the difference.
    weight, bias = (torch.stack((part, -part), dim=1).flatten(0, 1) for part in linear_bwd(hidden, d_difference))
    return *linear_bwd(mean, d_before), weight, bias

"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for many small matrices.

`torch.optim.Muon` takes one matrix at a time, always in bfloat16, which is slow on CPUs without matrix units. This one
takes all matrices of one shape together, in float32: a sixth of the time for the network that ships.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# A quintic with a steep slope at zero: five rounds bring every singular value of 0.003..1 to about 0.7..1.2.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """A step goes along the nearest orthogonal matrix to the Nesterov momentum, as far as a step of AdamW would.

    All parameters are matrices. The weights decay by `lr * weight_decay` a step.
    """

    def __init__(self, params: Iterable[Any], *, lr: float, weight_decay: float = 0.0, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            wrong = [list(parameter.shape) for parameter in group["params"] if parameter.dim() != 2]
            if wrong:
                raise ValueError(f"Muon takes matrices only, found a parameter of shape {wrong[0]}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step. Parameters without a gradient stay as they are."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                update = orthogonal(torch.stack([self._momentum(parameter, group) for parameter in parameters]))
                # The root mean square is 1 / sqrt(longer side) in an orthogonal matrix, about 0.2 in AdamW's steps.
                length = group["lr"] * 0.2 * math.sqrt(max(shape))
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(update.unbind()), alpha=-length)

    def _momentum(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        return gradient.lerp(state["momentum"], group["momentum"])


def orthogonal(matrices: Tensor) -> Tensor:  # [n, rows, columns] -> the same
    """About U V^T of every matrix U S V^T: its singular values lie between 0.7 and 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if tall else x

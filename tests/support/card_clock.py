"""Card clock: what a benchmark asks of a card, answered without one. It needs torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class FakeCard:
    """The n-th call timed takes n microseconds, whatever it does."""

    device, name = torch.device("cpu"), "a card that is not there"

    def __init__(self) -> None:
        self.timed: list[Callable[[], Any]] = []

    def seconds(self, call: Callable[[], Any], calls: int) -> float:
        self.timed.append(call)
        return 1e-6 * len(self.timed)

    def memory(self, call: Callable[[], Any]) -> int:
        call()
        return 3 << 20

    def launches(self, call: Callable[[], Any]) -> int | None:
        return 7

    def ceilings(self) -> dict[str, float]:
        return {"bytes": 1e12, "fp32": 1e12, "tf32": 2e12, "bf16": 4e12, "fp16": 4e12}

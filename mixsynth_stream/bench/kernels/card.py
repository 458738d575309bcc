"""Card: what `bench kernels` asks of it: times by its own events, memory, launches, and what it can do at most."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mixsynth_stream.errors import BackendUnavailableError

Call = Callable[[], Any]

# The card's ceilings are found with a copy and a product far larger than any cache.
_COPIED_BYTES = 1 << 30
_MULTIPLIED = 8192
_CEILING_CALLS = 10
_HOST_LAUNCH = re.compile(r"cu(da)?(LaunchKernel|GraphLaunch)")


class Card:
    """A CUDA device. Raises `BackendUnavailableError` where there is none."""

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise BackendUnavailableError("bench kernels measures on a CUDA device, and there is none here")
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.name = torch.cuda.get_device_name(self.device)

    def seconds(self, call: Call, calls: int) -> float:
        """Seconds a call, of `calls` one after the other."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(self.device)
        start.record()
        for _ in range(calls):
            call()
        end.record()
        torch.cuda.synchronize(self.device)
        return float(start.elapsed_time(end)) * 1e-3 / calls

    def memory(self, call: Call) -> int:
        """Bytes that `call` needs at its peak, beyond what lay there before."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        call()
        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_allocated(self.device) - before

    def launches(self, call: Call) -> int | None:
        """Kernels and graphs that the host starts in a call; None where the profiler is not allowed to look."""
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            call()
            torch.cuda.synchronize(self.device)
        return sum(event.count for event in profile.key_averages() if _HOST_LAUNCH.match(event.key)) or None

    def ceilings(self) -> Mapping[str, float]:
        """Measured: bytes a second of a copy (read and written), operations a second of a matrix product by type."""
        ceilings = {"bytes": 2 * _COPIED_BYTES / self._best(_copy(self.device))}
        types = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        for name, dtype in types.items():
            a = torch.randn(_MULTIPLIED, _MULTIPLIED, device=self.device).to(dtype)
            ceilings[name] = 2 * _MULTIPLIED**3 / self._best(_product(a, "high" if name == "tf32" else "highest"))
        return ceilings

    def _best(self, call: Call) -> float:
        call()
        return min(self.seconds(call, 1) for _ in range(_CEILING_CALLS))


def _copy(device: torch.device) -> Call:
    source = torch.zeros(_COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _product(a: Tensor, precision: str) -> Call:
    out = torch.empty_like(a)

    def call() -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        torch.mm(a, a, out=out)
        torch.set_float32_matmul_precision(before)

    return call

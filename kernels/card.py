"""Card: what the kernels run on and ask of it, and a kernel as it is compiled ahead for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton

from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.pieces import dot

# bf16 and cp.async came with it; TF32 too.
OLDEST_CAPABILITY = (8, 0)
# TRITON_INTERPRET is read when a kernel is defined, so its later value says nothing.
INTERPRETED = not isinstance(dot, triton.JITFunction)
# Without a limit ptxas aims lower, to keep more programs on a multiprocessor, and spills a few registers for it.
MOST_REGISTERS = 255


def find_device() -> torch.device:
    """The CUDA device that kernels run on, or the CPU under the interpreter. Raises `BackendUnavailableError`."""
    if INTERPRETED:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BackendUnavailableError("there is no CUDA device; use one, or set TRITON_INTERPRET=1 before the start to "
                                      "run the kernels slowly on the CPU")  # fmt: skip
    device = torch.device("cuda", torch.cuda.current_device())
    check_capability(torch.cuda.get_device_capability(device))
    return device


def check_capability(capability: tuple[int, int]) -> None:
    if capability < OLDEST_CAPABILITY:
        raise BackendUnavailableError(
            f"the kernels need compute capability {'.'.join(map(str, OLDEST_CAPABILITY))} (Ampere) or newer, found "
            f"{'.'.join(map(str, capability))}; use the backend torch on this card"
        )


def checked_device(device: torch.device | str) -> torch.device:
    device = torch.device(device)
    if device.type == "cpu" and INTERPRETED:
        return device
    if device.type != "cuda":
        raise BackendUnavailableError(f"the kernels run on a CUDA device, found {device}; the CPU works only under the "
                                      "interpreter, with TRITON_INTERPRET=1 set before the start")  # fmt: skip
    if INTERPRETED:
        raise BackendUnavailableError("TRITON_INTERPRET=1 is set, so the kernels run on the CPU; unset it for CUDA")
    if not torch.cuda.is_available():
        raise BackendUnavailableError(f"{device} was asked for, and there is no CUDA device")
    if (count := torch.cuda.device_count()) <= (device.index or 0):
        raise BackendUnavailableError(f"{device} was asked for, and the last CUDA device is cuda:{count - 1}")
    check_capability(torch.cuda.get_device_capability(device))
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


@dataclass(frozen=True)
class Specialisation:
    """One kernel as it is launched, for those who compile it ahead of time."""

    kernel: Any
    signature: Mapping[str, str]
    constexprs: Mapping[str, Any]
    aligned: tuple[int, ...]  # positions of pointers that are divisible by 16
    num_warps: int
    num_stages: int
    name: str
    maxnreg: int | None = None  # registers a thread, where the compiler is to use fewer only if it needs fewer

"""Card: what the kernels run on, and what they ask of it."""

from __future__ import annotations

import torch
import triton

from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.pieces import dot

# Ampere, the first with bf16, cp.async and TF32.
OLDEST_CAPABILITY = (8, 0)
# Triton reads TRITON_INTERPRET when a kernel is defined, so its later value says nothing.
INTERPRETED = not isinstance(dot, triton.JITFunction)
# Without a limit ptxas aims lower, to keep more programs on a multiprocessor, and spills a few registers for it.
MOST_REGISTERS = 255
# One: loops of the kernels load nothing ahead.
PIPELINE_STAGES = 1


def launch_options(num_warps: int) -> dict[str, int]:
    """How every kernel is launched, beside its arguments."""
    return {"num_warps": num_warps, "num_stages": PIPELINE_STAGES, "maxnreg": MOST_REGISTERS}


def find_device() -> torch.device:
    """The CUDA device that kernels run on, or the CPU under the interpreter. Raises `BackendUnavailableError`."""
    if INTERPRETED:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BackendUnavailableError(
            "there is no CUDA device; use one, or set TRITON_INTERPRET=1 before the start to run the kernels slowly on "
            "the CPU"
        )
    device = torch.device("cuda", torch.cuda.current_device())
    check_capability(torch.cuda.get_device_capability(device))
    return device


def check_capability(capability: tuple[int, int]) -> None:
    """Raises `BackendUnavailableError` where a card is too old."""
    if capability < OLDEST_CAPABILITY:
        raise BackendUnavailableError(
            f"the kernels need compute capability {'.'.join(map(str, OLDEST_CAPABILITY))} (Ampere) or newer, found "
            f"{'.'.join(map(str, capability))}; use the backend torch on this card"
        )


def checked_device(device: torch.device | str) -> torch.device:
    """A device by its name. Raises `BackendUnavailableError` where the kernels cannot run on it."""
    device = torch.device(device)
    if device.type == "cpu" and INTERPRETED:
        return device
    if device.type != "cuda":
        raise BackendUnavailableError(
            f"the kernels run on a CUDA device, found {device}; the CPU works only under the interpreter, with "
            "TRITON_INTERPRET=1 set before the start"
        )
    if INTERPRETED:
        raise BackendUnavailableError("TRITON_INTERPRET=1 is set, so the kernels run on the CPU; unset it for CUDA")
    if not torch.cuda.is_available():
        raise BackendUnavailableError(f"{device} was asked for, and there is no CUDA device")
    if (count := torch.cuda.device_count()) <= (device.index or 0):
        raise BackendUnavailableError(f"{device} was asked for, and the last CUDA device is cuda:{count - 1}")
    check_capability(torch.cuda.get_device_capability(device))
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)

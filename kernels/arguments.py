"""Arguments: types of what a kernel takes, and a kernel with them as it is compiled ahead of time.

A kernel names the type beside each argument, by the names below. To Triton they are all `tl.tensor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import triton.language as tl

from mixsynth_stream.kernels.card import INTERPRETED, MOST_REGISTERS, PIPELINE_STAGES
from mixsynth_stream.kernels.pack import OPERANDS

Float32: TypeAlias = tl.tensor
Operands: TypeAlias = tl.tensor  # what products take, in the type of the precision
OperandsOrX: TypeAlias = tl.tensor  # operands where channels are reduced; otherwise x itself, in float32
Int8: TypeAlias = tl.tensor
Int64: TypeAlias = tl.tensor

_TYPES = {
    "Float32": "*fp32",
    "Int8": "*i8",
    "Int64": "*i64",
    "float": "fp32",
    "int": "i32",
    "tl.constexpr": "constexpr",
}
_OPERANDS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}


@dataclass(frozen=True, kw_only=True)
class Specialisation:
    """One kernel as it is launched, for those who compile it ahead of time."""

    kernel: Any
    signature: Mapping[str, str]
    constexprs: Mapping[str, Any]
    aligned: tuple[int, ...]  # positions of pointers and sizes that are divisible by 16
    num_warps: int
    num_stages: int = PIPELINE_STAGES
    name: str
    maxnreg: int = MOST_REGISTERS  # registers a thread: the compiler uses fewer only if it needs fewer


def specialisation(
    kernel: Any,
    *,
    precision: str,
    constexprs: Mapping[str, Any],
    num_warps: int,
    name: str,
    reduces_channels: bool = False,
) -> Specialisation:
    """A kernel as it is launched in a precision, with the types that stand in its signature."""
    operands = _OPERANDS[OPERANDS[precision]]
    types = _TYPES | {"Operands": operands, "OperandsOrX": operands if reduces_channels else _TYPES["Float32"]}
    signature = {name: types[kernel.fn.__annotations__[name]] for name in kernel.arg_names}
    unaligned = _unaligned(kernel)
    aligned = (i for i, (name, kind) in enumerate(signature.items()) if kind[0] in "*i" and name not in unaligned)
    return Specialisation(
        kernel=kernel,
        signature=signature,
        constexprs={name: value for name, value in constexprs.items() if name in signature},
        aligned=tuple(aligned),
        num_warps=num_warps,
        name=name,
    )


def _unaligned(kernel: Any) -> set[str]:
    """Arguments that may be indivisible by 16, as the kernel's decorator says."""
    options = kernel.kwargs if INTERPRETED else vars(kernel)
    return {*(options["do_not_specialize"] or ()), *(options["do_not_specialize_on_alignment"] or ())}

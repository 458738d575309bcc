"""Pieces of the kernels by themselves."""

from __future__ import annotations

import importlib.util

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import torch
import triton
import triton.language as tl
from support.references import DEVICE

from mixsynth_stream.kernels.pieces import to_tf32


@triton.jit
def to_tf32_kernel(x: tl.tensor, out: tl.tensor, N: tl.constexpr) -> None:
    tl.store(out + tl.arange(0, N), to_tf32(tl.load(x + tl.arange(0, N))))


def test_operands_are_the_nearest_tf32():
    """What tensor cores do to float32 by themselves is cutting: all these would come nearer to zero."""
    x = torch.tensor([1 + 0.6 * 2**-10, 1 + 0.4 * 2**-10, -1 - 0.6 * 2**-10, 2 - 2**-20], device=DEVICE)
    out = torch.full_like(x, float("nan"))
    to_tf32_kernel[(1,)](x, out, len(x))
    assert out.tolist() == [1 + 2**-10, 1, -1 - 2**-10, 2]

"""Products that torch's library makes in training."""

from __future__ import annotations

import pytest
import torch

from mixsynth_stream.kernels.training.library_products import library_precision


def test_strict_is_float32_whatever_torch_may_do_elsewhere():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with pytest.raises(KeyError), library_precision("strict"):
            assert matmul.fp32_precision == "ieee"
            raise KeyError
        assert matmul.fp32_precision == "tf32", "as it was, after an error too"
        with library_precision("tf32"):
            assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before

"""Ops on whole tensors refuse what does not fit their weights."""

from __future__ import annotations

import pytest
import torch
from support.networks import ODD
from support.references import DEVICE, layer_of

from mixsynth_stream.kernels.ops import Ops


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (torch.zeros(2, 8, 7), r"x must have 9 tokens of 7 channels as the weights do, found \[2, 8, 7\]"),
        (torch.zeros(9, 7), r"contiguous float32 tensor \[B, T, C\], found torch.float32 \[9, 7\]"),
        (torch.zeros(2, 9, 7, dtype=torch.float16), "found torch.float16"),
        (torch.zeros(2, 9, 14)[..., ::2], "contiguous"),
    ],
    ids=["tokens", "rank", "dtype", "stride"],
)
def test_what_does_not_fit_is_named(x, sentence):
    with pytest.raises(ValueError, match=sentence):
        Ops(layer_of(ODD, torch.float32, DEVICE), precision="strict").feed_forward(x.to(DEVICE))

"""The feed-forward against its reference."""

from __future__ import annotations

import pytest
import torch
from support.references import DEVICE, OP_CASES, RUNNABLE, assert_near, layer_of, random_x

from mixsynth_stream.kernels import ref
from mixsynth_stream.kernels.ops import Ops


@pytest.mark.parametrize("precision", RUNNABLE)
@OP_CASES
def test_feed_forward(config, windows, precision):
    x, layer = random_x(config, 3), layer_of(config, torch.float32, DEVICE)
    out = Ops(layer, precision=precision, windows=windows).feed_forward(x)
    assert_near(out, ref.feed_forward_ref(x.double(), layer_of(config, device=DEVICE).feed_forward), precision, "ff")

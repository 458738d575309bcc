"""Both branches of mixed synthetic attention against their reference."""

from __future__ import annotations

import pytest
import torch
from support.references import DEVICE, OP_CASES, RUNNABLE, assert_near, layer_of, random_x

from mixsynth_stream.kernels import ref
from mixsynth_stream.kernels.ops import Ops


@pytest.mark.parametrize("precision", RUNNABLE)
@OP_CASES
def test_synth_attention(config, windows, precision):
    x, layer, wide = random_x(config, 3), layer_of(config, torch.float32, DEVICE), layer_of(config, device=DEVICE).mix
    branches = Ops(layer, precision=precision, windows=windows).synth_attention(x)
    for name, a, b in zip("tc", branches, ref.synth_attention_ref(x.double(), wide.token, wide.channel), strict=True):
        assert_near(a, b, precision, name)

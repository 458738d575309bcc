"""The mixture of both branches against its reference."""

from __future__ import annotations

import pytest
import torch
from support.references import DEVICE, OP_CASES, RUNNABLE, assert_near, layer_of, random_x

from mixsynth_stream.kernels import ref
from mixsynth_stream.kernels.ops import Ops


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("precision", RUNNABLE)
@OP_CASES
def test_synth_mix(config, windows, precision, norm):
    x, layer, wide = random_x(config, 3), layer_of(config, torch.float32, DEVICE), layer_of(config, device=DEVICE)
    mixed = Ops(layer, precision=precision, windows=windows).synth_mix(x, norm=norm)
    assert_near(mixed, ref.synth_mix_ref(x.double(), wide.mix, wide.norm if norm else None), precision, "mix")

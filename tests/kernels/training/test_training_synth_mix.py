"""The mixture in training, with dropout, against autograd through its formula."""

from __future__ import annotations

import torch
from support.gradients import (
    OP_CASES,
    TOLERANCE,
    assert_gradients,
    drops_of,
    keep_masks,
    nan_in_new_memory,
    on_device,
    packed_layer,
)
from support.references import layer_of, random_like

from mixsynth_stream.kernels.training.ref import mixture_ref
from mixsynth_stream.kernels.training.synth_mix import synth_mix, synth_mix_bwd


@OP_CASES
@nan_in_new_memory()
def test_synth_mix(config, precision):
    layer, weights, tolerance = packed_layer(config, precision), layer_of(config).mix, TOLERANCE[precision]
    x, t, c, d_proj = (random_like(2, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6, 7, 8))
    difference = random_like(2, config.seq_len, seed=9)
    inputs = [tensor.requires_grad_() for tensor in (t, c, difference, weights.proj_weight, weights.proj_bias)]
    projected = mixture_ref(t, c, difference.sigmoid(), weights)

    narrow_x, *branches = on_device(x, t, c, difference.sigmoid())
    summed = synth_mix(layer, narrow_x, *branches, keep_masks(layer, narrow_x))
    assert_gradients([summed], [x + drops_of(config, 2).proj * projected], tolerance)

    truth = torch.autograd.grad(projected, inputs, d_proj)
    gradients = synth_mix_bwd(layer, on_device(d_proj)[0].to(layer.operand), *branches)
    assert_gradients([*gradients[:3], *gradients.proj], truth, tolerance)

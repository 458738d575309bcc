"""The channel branch in training against autograd through the reference."""

from __future__ import annotations

import torch
from support.gradients import OP_CASES, TOLERANCE, assert_gradients, leaves, nan_in_new_memory, on_device, packed_layer
from support.references import layer_of, random_like

from mixsynth_stream.kernels.ref import branch_ref
from mixsynth_stream.kernels.training.channel_branch import channel_branch, channel_branch_bwd, channel_values
from mixsynth_stream.kernels.training.library_products import OperandX


@OP_CASES
@nan_in_new_memory()
def test_channel_branch(config, precision):
    layer, weights, tolerance = packed_layer(config, precision), layer_of(config).mix.channel, TOLERANCE[precision]
    x, d_c = (random_like(2, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6))
    d_mean = random_like(2, config.seq_len, seed=7)
    inputs = [tensor.requires_grad_() for tensor in (x, *leaves(weights))]
    c = branch_ref(x.mT, weights).mT

    narrow_x, narrow_d_c, narrow_d_mean = on_device(x, d_c, d_mean)
    values = channel_values(layer, narrow_x)
    assert_gradients([channel_branch(layer, narrow_x, values)], [c], tolerance)

    d_x, *d_weights = torch.autograd.grad(c, inputs, d_c + d_mean[..., None], allow_unused=True, materialize_grads=True)
    residual = on_device(random_like(*x.shape, seed=9))[0]
    total = residual.clone()
    operand_x = OperandX.of(narrow_x, layer.operand)
    gradients = channel_branch_bwd(layer, narrow_x, operand_x, values, narrow_d_c, narrow_d_mean, total)
    assert_gradients([total], [d_x + residual.cpu()], tolerance)
    pairs = zip(gradients, d_weights, strict=True)
    assert_gradients(*zip(*(pair for pair in pairs if pair[0].numel()), strict=True), tolerance)

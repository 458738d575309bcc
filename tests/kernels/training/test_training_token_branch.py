"""The token branch in training, with the mixture's weights, against autograd through the reference."""

from __future__ import annotations

import torch
from support.gradients import OP_CASES, TOLERANCE, assert_gradients, leaves, nan_in_new_memory, on_device, packed_layer
from support.references import layer_of, random_like

from mixsynth_stream.kernels.ref import branch_ref
from mixsynth_stream.kernels.training.library_products import OperandX
from mixsynth_stream.kernels.training.ref import reweight_ref
from mixsynth_stream.kernels.training.token_branch import token_branch, token_branch_bwd


@OP_CASES
@nan_in_new_memory()
def test_token_branch(config, precision):
    layer, weights, tolerance = packed_layer(config, precision), layer_of(config).mix, TOLERANCE[precision]
    x, c, d_t = (random_like(2, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6, 7))
    d_difference = random_like(2, config.seq_len, seed=8)
    inputs = [tensor.requires_grad_() for tensor in (x, c, *leaves(weights.token), *weights[2:6])]
    t = branch_ref(x, weights.token)
    mean = (t + c).mean(-1)
    _, difference = reweight_ref(mean, weights)

    narrow_x, narrow_c, narrow_d_t, narrow_d_difference = on_device(x, c, d_t, d_difference)
    branch = token_branch(layer, narrow_x, narrow_c)
    assert_gradients(branch, [t, mean, difference.sigmoid()], tolerance)

    d_x, d_c, *d_weights = torch.autograd.grad(
        (t, difference), inputs, (d_t, d_difference), allow_unused=True, materialize_grads=True
    )
    residual = on_device(random_like(*x.shape, seed=9))[0]
    total = residual.clone()
    gradients = token_branch_bwd(
        layer,
        narrow_x,
        OperandX.of(narrow_x, layer.operand),
        narrow_d_t,
        branch.mean,
        narrow_d_difference,
        total,
    )
    assert_gradients([total], [d_x + residual.cpu()], tolerance)
    assert_gradients([gradients.d_mean], [d_c[..., 0]], tolerance)
    pairs = zip((*gradients.weights, *gradients.reweight), d_weights, strict=True)
    assert_gradients(*zip(*(pair for pair in pairs if pair[0].numel()), strict=True), tolerance)

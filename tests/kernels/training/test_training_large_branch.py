"""What the kernels of large windows make between the library's products, against its reference."""

from __future__ import annotations

import pytest
from support.gradients import OP_CASES, TOLERANCE, assert_gradients, nan_in_new_memory, on_device, packed_layer
from support.references import random_like

from mixsynth_stream.kernels.training.large_branch import branch_tile, large_branch, large_branch_bwd
from mixsynth_stream.kernels.training.ref import large_branch_bwd_ref, large_branch_ref


@pytest.mark.parametrize("tokens", [True, False], ids=["tokens", "channels"])
@OP_CASES
@nan_in_new_memory()
def test_large_branch(config, precision, tokens):
    layer, tolerance = packed_layer(config, precision), TOLERANCE[precision]
    tile = branch_tile(layer.tile, tokens)
    rows, d_out = (random_like(2, tile.length, tile.width, seed=seed) for seed in (1, 2))
    values, dense = random_like(2, tile.key_count, tile.width, seed=3), random_like(tile.key_count, tile.width, seed=4)
    bias, gate = random_like(tile.key_count, seed=5), random_like(2, tile.length, seed=6).sigmoid()
    narrow_rows, narrow_dense, *others = (tensor.to(layer.operand) for tensor in on_device(rows, dense, values, d_out))
    inputs = narrow_rows, narrow_dense, *on_device(bias, gate)
    assert_gradients([large_branch(tile, *inputs)], [large_branch_ref(rows, dense, bias, gate)], tolerance)
    gradients = large_branch_bwd(tile, *inputs, *others)
    assert_gradients(gradients, large_branch_bwd_ref(rows, dense, bias, gate, values, d_out), tolerance)

"""The feed-forward in training, with dropout and both LayerNorms, against the reference's gradients by hand."""

from __future__ import annotations

import dataclasses

import pytest
from support.gradients import (
    OP_CASES,
    TOLERANCE,
    assert_gradients,
    drops_of,
    keep_masks,
    leaves,
    nan_in_new_memory,
    on_device,
    packed_layer,
)
from support.networks import ODD
from support.references import layer_of, random_like
from torch.nn import functional

from mixsynth_stream.kernels.training.feed_forward import feed_forward, feed_forward_bwd
from mixsynth_stream.kernels.training.ref import feed_forward_bwd_ref, layer_norm_bwd_ref

# Rows so long that products read them in blocks.
BROAD = dataclasses.replace(
    ODD, num_encoder_layers=1, sample_interval=2, horizon=0, emb_dim=130, expansion_factor=1, reduce_channel=1
)


def check(config, precision, batch):
    layer, weights, tolerance = packed_layer(config, precision), layer_of(config), TOLERANCE[precision]
    ff, drops = weights.feed_forward, drops_of(config, batch)
    summed, d_out = (random_like(batch, config.seq_len, config.emb_dim, seed=seed) for seed in (5, 6))
    y = functional.layer_norm(summed, summed.shape[-1:], *weights.norm)
    hidden = drops.hidden * functional.gelu(functional.linear(y, ff.fc1_weight, ff.fc1_bias))
    second = y + drops.out * functional.linear(hidden, ff.fc2_weight, ff.fc2_bias)

    narrow, narrow_d_out = on_device(summed, d_out)
    masks = keep_masks(layer, narrow)
    out = functional.layer_norm(second, second.shape[-1:], *ff.norm)
    assert_gradients([feed_forward(layer, narrow, masks)], [out], tolerance)

    d_y, d_ff = feed_forward_bwd_ref(y, ff, drops, d_out)
    d_summed, d_norm = layer_norm_bwd_ref(summed, weights.norm, d_y)
    gradients = feed_forward_bwd(layer, narrow, narrow_d_out, masks)
    truth = [d_summed, drops.proj * d_summed, *leaves(d_norm), *leaves(d_ff)]
    assert_gradients(leaves(gradients), truth, tolerance)


@OP_CASES
@nan_in_new_memory()
def test_feed_forward(config, precision):
    check(config, precision, 2)


@pytest.mark.parametrize("precision", ["strict", "fp16"])
@nan_in_new_memory()
def test_feed_forward_of_long_rows(precision):
    assert packed_layer(BROAD, precision).token_tile.wide == (precision == "strict")
    check(BROAD, precision, 1)

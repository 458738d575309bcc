"""What the kernels drop is what the reference's own Philox drops."""

from __future__ import annotations

import torch
from support.gradients import drops_of, keep_masks, packed_layer
from support.networks import ODD
from support.references import DEVICE


def test_dropout():
    layer, x = packed_layer(ODD, "strict"), torch.zeros(3, ODD.seq_len, ODD.emb_dim, device=DEVICE)
    for mask, factor in zip(keep_masks(layer, x)[:3], drops_of(ODD, 3), strict=True):
        assert torch.equal(mask.cpu().bool(), factor > 0)
        assert 0 < mask.float().mean() < 1

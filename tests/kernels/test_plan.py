"""In which launches a forward runs, and how `info` says it."""

from __future__ import annotations

import dataclasses

import pytest
from support.networks import ODD, SHAPES

from mixsynth_stream.commands.info import _forward_launches
from mixsynth_stream.kernels.plan import fits, plan_for
from mixsynth_stream.kernels.tile import PRECISIONS

LONG = dataclasses.replace(ODD, sample_interval=64, num_encoder_layers=1, reduce_token=1)


def test_the_plan_is_said_in_words():
    assert _forward_launches(plan_for(ODD, "fp16", 1)) == "one launch for the network"
    assert _forward_launches(plan_for(ODD, "fp16", 4)) == "one launch for the network, 4 windows in a program"
    older = plan_for(ODD, "fp16", 4, capability=(8, 0))
    assert _forward_launches(older) == "4 launches a layer and one for each end, 10 in all, windows in blocks"
    assert len(older.launches) == 10
    assert "windows in blocks" in _forward_launches(plan_for(LONG, "fp16", 1))


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (10, 0)], ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_a_forward_has_every_layer_in_few_launches(name, precision, capability):
    plan = plan_for(SHAPES[name], precision, 4096, 132, capability)
    assert [layer for stages, layer in plan.launches if stages.mix or stages.all_layers]
    assert len(plan.launches) <= 4 * plan.tile.layers + 2
    assert fits(plan.tile) or plan.in_blocks

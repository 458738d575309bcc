"""The network in blocks against its reference: as on other cards, and of windows that no program holds."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support import networks
from support.networks import ODD, SHAPES, random_keyframes, random_state
from support.references import DEVICE, RUNNABLE, UNREDUCED, check_encoder

from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.kernels.plan import plan_for

AMPERE = (8, 0)
LONG = dataclasses.replace(ODD, sample_interval=64, num_encoder_layers=1, reduce_token=1)


@pytest.mark.parametrize("precision", RUNNABLE)
@pytest.mark.parametrize(("config", "batch"), [(ODD, 3), (UNREDUCED, 1)], ids=["odd", "unreduced"])
def test_encoder_in_blocks(config, batch, precision):
    check_encoder(config, batch, precision, AMPERE)


@pytest.mark.parametrize("name", ["unreduced", "default"])
def test_encoder_in_several_blocks_of_tokens_and_channels(name):
    check_encoder(dataclasses.replace(SHAPES[name], num_encoder_layers=1), 1, "strict", AMPERE)


def test_a_window_that_no_program_holds_goes_in_blocks():
    assert plan_for(LONG, "fp16", 1).in_blocks
    check_encoder(LONG, 1, "fp16")


def test_a_smaller_batch_after_a_larger_one():
    """Blocks of rows reach beyond the last window, into what the larger batch left."""
    encoder = Encoder(random_state(ODD), ODD, precision="strict", capability=AMPERE)
    keyframes = torch.from_numpy(random_keyframes(ODD, 3)).to(DEVICE)
    together = encoder(keyframes).cpu().numpy()
    networks.assert_close(encoder(keyframes[:1]).cpu().numpy(), together[:1], 0, "motion")

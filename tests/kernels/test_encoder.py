"""The fused network against its reference, in every number of launches and windows a program."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from support import networks
from support.networks import ODD, SHAPES, odd_configs, random_keyframes, random_state
from support.references import DEVICE, RUNNABLE, TOLERANCE, UNREDUCED, check_encoder

from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.kernels.plan import plan_for


def test_tf32_rounds_and_strict_does_not():
    keyframes = torch.from_numpy(random_keyframes(UNREDUCED, 1)).to(DEVICE)
    strict, tf32 = (Encoder(random_state(UNREDUCED), UNREDUCED, precision=p)(keyframes) for p in ("strict", "tf32"))
    assert 1e-5 < float((tf32 - strict).abs().max()) < TOLERANCE["tf32"]


@pytest.mark.parametrize("precision", RUNNABLE)
@pytest.mark.parametrize(
    "config", [ODD, UNREDUCED, SHAPES["3dpw"], dataclasses.replace(SHAPES["unreduced"], horizon=3)]
)
def test_encoder(config, precision):
    check_encoder(config, 1, precision)


@pytest.mark.parametrize(("name", "precision"), [("jhmdb", "fp16"), ("default", "fp16"), ("image-n10", "strict")])
def test_encoder_in_several_launches(name, precision):
    """A layer of a published or shipped shape: groups of windows (the last one not full), a layer cut in parts."""
    config = dataclasses.replace(SHAPES[name], num_encoder_layers=1)
    assert len(plan_for(config, precision, 5).launches) > 1
    check_encoder(config, 5 if config.seq_len < 16 else 1, precision)


def test_every_way_to_cut_a_layer_gives_the_same(monkeypatch):
    keyframes = torch.from_numpy(random_keyframes(ODD, 1)).to(DEVICE)
    motions = {}
    for limits in ((4096, 4096), (0, 4096), (0, 0)):
        monkeypatch.setattr("mixsynth_stream.kernels.plan._WHOLE_STACK", limits[0])
        monkeypatch.setattr("mixsynth_stream.kernels.plan._WHOLE_LAYER", limits[1])
        encoder = Encoder(random_state(ODD), ODD, precision="strict")
        motions[len(encoder.plan(1).launches)] = encoder(keyframes).cpu().numpy()
    assert sorted(motions) == [1, 2, 6], "one launch, one a layer, three a layer"
    for launches in (2, 6):
        networks.assert_close(motions[launches], motions[1], 1e-5, f"motion in {launches} launches")


@settings(max_examples=5, derandomize=True)
@given(odd_configs())
def test_encoder_of_odd_shapes(config):
    check_encoder(dataclasses.replace(config, num_encoder_layers=1), 2, "strict")


def test_windows_of_a_group_do_not_see_each_other():
    config = dataclasses.replace(ODD, num_encoder_layers=1)
    encoder = Encoder(random_state(config), config, precision="fp16")
    keyframes = torch.from_numpy(random_keyframes(config, 4)).to(DEVICE)
    assert encoder.plan(4).tile.windows == 4
    together = encoder(keyframes).cpu().numpy()
    keyframes[2] += 10
    networks.assert_close(encoder(keyframes).cpu().numpy()[[0, 1, 3]], together[[0, 1, 3]], 1e-6, "neighbours")

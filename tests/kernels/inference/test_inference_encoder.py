"""The network on a device: what it refuses, and what it tells those who compile ahead of time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from support.networks import ODD, SHAPES, random_state
from support.references import DEVICE

from mixsynth_stream.errors import BackendUnavailableError, ModelError
from mixsynth_stream.kernels import card
from mixsynth_stream.kernels.inference.encoder import Encoder, specialisations
from mixsynth_stream.kernels.plan import plan_for
from mixsynth_stream.kernels.tile import PRECISIONS


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(random_state(ODD), ODD, precision="strict")


def test_no_windows_give_no_poses(encoder):
    assert encoder(torch.empty(0, 3, 5, device=DEVICE)).shape == (0, 9, 5)


class TestBadInput:
    @pytest.mark.parametrize(
        ("keyframes", "error", "message"),
        [
            (torch.zeros(2, 4, 5), ValueError, r"keyframes must have shape \[batch, 3, 5\], found \[2, 4, 5\]"),
            (torch.zeros(3, 5), ValueError, r"shape .* found \[3, 5\]"),
            (torch.zeros(2, 3, 5, dtype=torch.float16), TypeError, "keyframes must be float32, found torch.float16"),
            (torch.zeros(2, 3, 5, device="meta"), ValueError, "keyframes must be on .* found meta"),
            (torch.zeros(2, 3, 10)[..., ::2], ValueError, r"contiguous, found strides \(30, 10, 2\)"),
            (torch.zeros(2, 3, 5, requires_grad=True), ValueError, "keyframes asks for gradients"),
            (np.zeros((2, 3, 5), np.float32), TypeError, "keyframes must be a torch tensor, found ndarray"),
        ],
        ids=["tokens", "rank", "dtype", "device", "stride", "gradient", "numpy"],
    )
    def test_is_named(self, encoder, keyframes, error, message):
        if isinstance(keyframes, torch.Tensor) and keyframes.device.type == "cpu":
            keyframes = keyframes.to(DEVICE)
        with pytest.raises(error, match=message):
            encoder(keyframes)

    def test_out_of_another_batch(self, encoder):
        with pytest.raises(ValueError, match="out must hold 2 windows as keyframes do, found 3"):
            encoder(torch.zeros(2, 3, 5, device=DEVICE), torch.zeros(3, 9, 5, device=DEVICE))

    def test_a_precision_that_does_not_exist(self):
        with pytest.raises(ValueError, match="precision must be one of strict, tf32, bf16, fp16, found 'fp8'"):
            Encoder(random_state(ODD), ODD, precision="fp8")

    def test_weights_of_another_shape(self):
        with pytest.raises(ModelError, match=r"weight .* has shape"):
            Encoder(random_state(ODD), dataclasses.replace(ODD, joint_dim=6), precision="strict")

    @pytest.mark.skipif(not card.INTERPRETED, reason="on a card it can")
    def test_a_graph_without_a_card(self, encoder):
        with pytest.raises(BackendUnavailableError, match="CUDA graphs need a CUDA device"):
            encoder.capture(4)


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (10, 0)], ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_what_is_launched_is_told_to_those_who_compile_it_ahead(name, precision, capability):
    kinds = specialisations(SHAPES[name], precision, 4096, capability=capability)
    plan = plan_for(SHAPES[name], precision, 4096, 132, capability)
    assert len(kinds) == len({stages for stages, _ in plan.launches})
    operands = {"strict": "*fp32", "tf32": "*fp32", "bf16": "*bf16", "fp16": "*fp16"}[precision]
    for kind in kinds:
        assert list(kind.signature) == list(kind.kernel.arg_names)
        assert len(kind.signature) > len(kind.aligned)
        assert {t for t in kind.signature.values() if t.startswith("*")} == {operands, "*fp32"}
        pointers = [i for i, t in enumerate(kind.signature.values()) if t.startswith("*")]
        assert list(kind.aligned[: len(pointers)]) == pointers, "every buffer starts where vector loads may"

"""What the kernels run on: where they cannot, a sentence says why."""

from __future__ import annotations

import sys

import pytest
import torch
from support.networks import ODD, random_state

from mixsynth_stream.backend import choose_backend
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels import card
from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.kernels.training.autograd import use_kernels
from mixsynth_stream.network import MixSynthFormer


def test_an_old_card(monkeypatch):
    monkeypatch.setattr(card, "INTERPRETED", False)
    cuda = {"is_available": True, "current_device": 0, "device_count": 1, "get_device_capability": (7, 0)}
    for name, answer in cuda.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    sentence = r"8.0 \(Ampere\) or newer, found 7.0; use the backend torch"
    for start in (
        lambda: choose_backend("triton"),
        lambda: use_kernels(MixSynthFormer(ODD), "bf16"),
        lambda: Encoder(random_state(ODD), ODD, precision="bf16", device="cuda"),
    ):
        with pytest.raises(BackendUnavailableError, match=sentence):
            start()
    with pytest.raises(BackendUnavailableError, match="cuda:1 was asked for, and the last CUDA device is cuda:0"):
        Encoder(random_state(ODD), ODD, precision="bf16", device="cuda:1")


def test_no_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "mixsynth_stream.kernels.card")
    with pytest.raises(BackendUnavailableError, match=r"triton cannot run here: .*triton.*mixsynth-stream\[gpu\]"):
        choose_backend("triton")


def test_a_cpu_without_the_interpreter(monkeypatch):
    monkeypatch.setattr(card, "INTERPRETED", False)
    with pytest.raises(BackendUnavailableError, match="run on a CUDA device, found cpu; .* TRITON_INTERPRET=1"):
        Encoder(random_state(ODD), ODD, precision="strict", device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailableError, match="triton cannot run here: there is no CUDA device"):
            choose_backend("triton")

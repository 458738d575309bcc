"""Backends are chosen by name or by `auto`, and one that cannot run says why."""

from __future__ import annotations

import logging
import re
import time
import types

import numpy as np
import pytest
from support.networks import SHAPES, random_state

from mixsynth_stream import backend
from mixsynth_stream.backend import BACKENDS, available_backends, backend_of, choose_backend
from mixsynth_stream.errors import BackendUnavailableError


def test_every_backend_named_is_ready_here():
    assert [row.name for row in available_backends()] == list(BACKENDS)
    for row in available_backends():
        assert row.ready or row.name == "cuda", row.about


def test_cuda_says_why_it_is_not_ready():
    """On a machine without a driver, or where the library was not built; with a card it is ready."""
    row = next(row for row in available_backends() if row.name == "cuda")
    if row.ready:
        assert choose_backend("cuda") == "cuda"
        return
    assert re.search("there is no NVIDIA|the NVIDIA driver is for CUDA|MIXSYNTH_CUDA=1", row.about), row.about
    with pytest.raises(BackendUnavailableError, match="backend cuda cannot run here: ") as caught:
        choose_backend("cuda")
    assert row.about in str(caught.value)


def test_an_unknown_backend_lists_the_choices():
    with pytest.raises(ValueError, match="backend must be auto or one of native, torch, triton, cuda, found 'abacus'"):
        choose_backend("abacus")


def test_a_named_backend_that_is_missing_says_why_and_auto_goes_on(monkeypatch, caplog):
    import_module = backend.importlib.import_module

    def without_native(name, *args):
        if name == "mixsynth_stream._C":
            raise ImportError("libstdc++.so.6: cannot open shared object file")
        return import_module(name, *args)

    monkeypatch.setattr(backend.importlib, "import_module", without_native)
    backend._auto.cache_clear()
    try:
        with pytest.raises(BackendUnavailableError, match=r"backend native cannot run here: libstdc.*build it with"):
            choose_backend("native")
        with caplog.at_level(logging.INFO, "mixsynth_stream"):
            assert [choose_backend("auto") for _ in range(3)] == ["torch"] * 3
        assert [record.getMessage() for record in caplog.records if "libstdc++" in record.getMessage()]
        assert len(caplog.records) == 1, "auto logs its choice once"
    finally:
        backend._auto.cache_clear()


# It takes the native encoder a millisecond, which is long beside a call of nothing.
SLOW = SHAPES["aist-smpl"]


class FakeCuda:
    """In place of mixsynth_stream._cuda: a card that takes `seconds` a call, and fails where `fault` is set."""

    class CudaError(RuntimeError):
        pass

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.fault, self.refusal, self.calls = seconds, "", "", 0

    def devices(self):
        if self.fault:
            raise self.CudaError(self.fault)
        return ["Fake Card"]

    def broken(self):
        return self.fault

    def Encoder(self, *, state, precision, joint_dim, **dims):
        if self.refusal:
            raise self.CudaError(self.refusal)
        return types.SimpleNamespace(forward=self.forward)

    def forward(self, keyframes):
        self.calls += 1
        if self.seconds:
            time.sleep(self.seconds)
        if self.fault:
            raise self.CudaError(self.fault)
        return np.full((len(keyframes), SLOW.seq_len, SLOW.joint_dim), 7, np.float32)


@pytest.fixture
def cuda(monkeypatch):
    module = FakeCuda()
    import_module = backend.importlib.import_module
    replaced = {"mixsynth_stream._cuda": module}
    monkeypatch.setattr(backend.importlib, "import_module", lambda name: replaced.get(name) or import_module(name))
    return module


def test_auto_takes_a_card_only_where_it_is_measured_to_be_faster(cuda, caplog):
    state = random_state(SLOW)
    with caplog.at_level(logging.INFO, "mixsynth_stream"):
        assert backend_of("auto", SLOW, state)[0] == "cuda"
        cuda.seconds = 0.02
        assert backend_of("auto", SLOW, state)[0] == "native"
    assert any("one window takes" in message and "on Fake Card" in message for message in caplog.messages)
    assert backend_of("cuda", SLOW, state)[0] == "cuda"
    assert backend_of("native", SLOW, state)[0] == "native"
    cuda.refusal = "allocating memory on the card failed: out of memory"
    assert backend_of("auto", SLOW, state)[0] == "native"
    with pytest.raises(BackendUnavailableError, match="backend cuda cannot run here: allocating memory"):
        backend_of("cuda", SLOW, state)


def test_a_card_that_fails_ends_a_named_backend_and_auto_goes_on_natively(cuda, caplog):
    state, keyframes = random_state(SLOW), np.ones((2, SLOW.num_keyframes, SLOW.joint_dim), np.float32)
    named, auto = backend_of("cuda", SLOW, state)[1], [backend_of("auto", SLOW, state)[1] for _ in range(2)]
    expected = backend_of("native", SLOW, state)[1](keyframes)
    assert all((forward(keyframes) == 7).all() for forward in (named, *auto))
    caplog.clear()
    attempts, failing = cuda.calls, auto[0]
    cuda.broken = lambda: cuda.fault if cuda.calls > attempts else ""
    cuda.fault = "the encoder failed: an illegal memory access was encountered"
    for forward in (failing, *auto, *auto):
        assert np.array_equal(forward(keyframes), expected)
    assert cuda.calls == attempts + 1, "a card that has failed is asked again"
    assert [record.getMessage() for record in caplog.records] == [
        f"backend cuda: {cuda.fault}; the native encoder goes on"
    ]
    with pytest.raises(BackendUnavailableError, match="backend cuda: the encoder failed"):
        named(keyframes)
    with pytest.raises(BackendUnavailableError, match="backend cuda cannot run here: the encoder failed"):
        backend_of("cuda", SLOW, state)

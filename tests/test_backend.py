"""Backends are chosen by name or by `auto`, and one that cannot run says why."""

from __future__ import annotations

import logging
import re

import pytest

from mixsynth_stream import backend
from mixsynth_stream.backend import BACKENDS, available_backends, choose_backend
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

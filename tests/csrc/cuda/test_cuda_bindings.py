"""The CUDA library without a driver: it loads, and says what is missing. tests/gpu/ goes on where there is a card."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys

import pytest
from support.networks import ODD, random_state

if importlib.util.find_spec("mixsynth_stream._cuda") is None:
    pytest.skip("mixsynth_stream._cuda is not built; it needs nvcc", allow_module_level=True)

from mixsynth_stream import _cuda


def has_card() -> bool:
    try:
        return bool(_cuda.devices())
    except _cuda.CudaError:
        return False


without_card = pytest.mark.skipif(has_card(), reason="this machine has a card")


def encoder(**changes: object) -> object:
    arguments = {"state": random_state(ODD), **dataclasses.asdict(ODD), **changes}
    return _cuda.Encoder(**arguments)


@without_card
def test_a_missing_card_is_named() -> None:
    for call in (_cuda.devices, encoder):
        with pytest.raises(RuntimeError, match="there is no NVIDIA|the NVIDIA driver is for CUDA"):
            call()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"precision": "fp8"}, "precision must be strict, tf32 or bf16, found str 'fp8'"),
        ({"precision": None}, "precision must be strict, tf32 or bf16, found NoneType None"),
        ({"emb_dim": 0}, "every dimension must be from 1 to 65536"),
        ({"state": {}}, "state lacks"),
    ],
)
def test_wrong_arguments_are_named_before_a_card_is_looked_for(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        encoder(**changes)


def test_importing_the_package_does_not_load_the_library() -> None:
    code = "import mixsynth_stream, mixsynth_stream.backend, sys; print('mixsynth_stream._cuda' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "False"

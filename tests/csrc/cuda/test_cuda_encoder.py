"""Tests of the CUDA encoder without a card: its kernel, emulated, gives the paper's numbers.

The emulation ends with an error where threads race, miss a barrier, leave their memory, or write a result twice or
never. Each run is done in two orders of the threads, which must not change a bit. `test_cuda_shapes.py` does so for
every shape.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.emulated import EDGES, LARGE, build, built_once, run
from support.networks import SHAPES, published


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory, "encoder", lambda folder: build(folder, "-O1"))


@pytest.mark.parametrize("name", ["jhmdb", "3dpw"])
def test_one_window_equals_the_formulas(check: Path, name: str) -> None:
    facts = run(check, SHAPES[name])
    assert all(fact["workspace"] == 0 and fact["conflicts"] == 0 for fact in facts.values())
    # Twelve a layer, and five for the ends of the network: csrc/cuda/README.md says which.
    assert {fact["barriers"] for fact in facts.values()} == {12 * SHAPES[name].num_encoder_layers + 5}


def test_the_last_block_may_have_fewer_windows(check: Path) -> None:
    run(check, published("3dpw", 4, 8), batch=3, windows=2, warps=16)


@pytest.mark.parametrize("shared", [LARGE, 2000], ids=["shared", "workspace"])
@pytest.mark.parametrize("name", ["odd", "one", "wide"])
def test_any_shape(check: Path, name: str, shared: int) -> None:
    facts = run(check, EDGES[name], batch=2, windows=2, warps=5, shared=shared)
    assert name == "one" or (facts["bf16"]["workspace"] > 0) == (shared < LARGE)

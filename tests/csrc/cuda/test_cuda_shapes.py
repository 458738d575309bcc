"""Tests of the CUDA encoder without a card, at length: every shape, every kernel, and under AddressSanitizer.

It takes minutes: `make cuda` runs it, and `make test` does not.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.emulated import EDGES, LARGE, SANITIZED, SMALL, build, build_emulation, run
from support.networks import SHAPES, published

# Shapes that have a kernel of their own: all but those with other reductions.
KNOWN = [name for name in SHAPES if name not in ("unreduced", "default")]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("encoder"), "-O2")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fixed"), "-O1", "-DMIXSYNTH_FIXED")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sanitized"), *SANITIZED)


def test_address_sanitizer_follows_the_emulation(tmp_path: Path) -> None:
    """It must not mistake a switch between fibers for a wild jump."""
    program = build_emulation(tmp_path, *SANITIZED)
    process = subprocess.run([str(program), "neighbour"], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout.splitlines()) == (0, ["1 0", "1 0"]), process.stderr


@pytest.mark.parametrize("name", SHAPES)
def test_one_window_equals_the_formulas(check: Path, name: str) -> None:
    facts = run(check, SHAPES[name])
    assert all(fact["workspace"] == 0 and fact["conflicts"] == 0 for fact in facts.values())


@pytest.mark.parametrize(("batch", "windows"), [(5, 2), (16, 16), (3, 4)])
def test_windows_share_a_block(check: Path, batch: int, windows: int) -> None:
    run(check, published("jhmdb", 4, 8), batch, windows, warps=16)


@pytest.mark.parametrize("shared", [LARGE, 2000], ids=["shared", "workspace"])
@pytest.mark.parametrize("name", EDGES)
def test_any_number_of_windows_and_warps(check: Path, name: str, shared: int) -> None:
    facts = run(check, EDGES[name], batch=2, windows=1, warps=1, shared=shared)
    same = run(check, EDGES[name], batch=2, windows=2, warps=5, shared=shared)
    assert [fact["error"] for fact in facts.values()] == [fact["error"] for fact in same.values()]


def test_small_cards_keep_the_rest_in_device_memory(check: Path) -> None:
    facts = run(check, SHAPES["aist-smpl"], warps=8, shared=SMALL)
    assert all(0 < fact["shared"] <= SMALL and fact["workspace"] > 0 for fact in facts.values())


@pytest.mark.parametrize("name", KNOWN)
def test_a_kernel_that_knows_its_sizes_gives_the_same_bits(fixed: Path, name: str) -> None:
    """It is compiled for them alone, and its warps take two operands at a time where there is work enough."""
    facts = run(fixed, SHAPES[name], precisions=["bf16"])["bf16"]
    assert facts["workspace"] == facts["conflicts"] == 0


@pytest.mark.parametrize(("name", "batch", "windows"), [("jhmdb", 17, 16), ("3dpw", 4, 3), ("image-n5", 3, 2)])
def test_as_many_windows_as_a_block_holds_in_a_kernel_that_knows_its_sizes(
    fixed: Path, name: str, batch: int, windows: int
) -> None:
    run(fixed, SHAPES[name], batch, windows, precisions=["bf16"])


@pytest.mark.parametrize("name", ["3dpw", "odd", "long", "default"])
def test_under_address_sanitizer(sanitized: Path, name: str) -> None:
    config = EDGES.get(name) or SHAPES[name]
    run(sanitized, config, batch=3, windows=2, warps=6)
    run(sanitized, config, batch=1, windows=1, warps=6, shared=2000)

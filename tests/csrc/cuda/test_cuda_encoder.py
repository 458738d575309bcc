"""Tests of the CUDA encoder without a card: its kernel, emulated, gives the paper's numbers for every shape.

The emulation ends with an error where threads race, miss a barrier or leave their memory. Each run is done in two
orders of the threads, which must not change a bit.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.networks import ODD, SHAPES, published

from mixsynth_stream.config import ModelConfig

ROOT = Path(__file__).parents[3]
SOURCES = ("tests/csrc/cuda/encoder_check.cpp", "csrc/cuda/operands.cpp", "csrc/pack.cpp")
# The largest error, as a share of the largest number of the result.
TOLERANCES = {"strict": 1e-5, "tf32": 5e-3, "bf16": 5e-2}
# Shared memory that one block may have on the largest cards and on the smallest.
LARGE, SMALL = 227 * 1024, 99 * 1024
# Both, and one token, and more tokens and channels than a warp holds at once.
EDGES = {
    "odd": ODD,
    "one": ModelConfig(sample_interval=1, step=1, horizon=0, joint_dim=1, emb_dim=8, num_encoder_layers=1),
    "long": ModelConfig(
        sample_interval=30,
        step=10,
        horizon=20,
        joint_dim=20,
        emb_dim=20,
        num_encoder_layers=1,
        reduce_token=3,
        reduce_channel=2,
    ),
    "wide": ModelConfig(
        sample_interval=10, step=2, horizon=0, joint_dim=7, emb_dim=150, num_encoder_layers=1, expansion_factor=1
    ),
}


def build(folder: Path, *flags: str) -> Path:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    program = folder / "encoder_check"
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", *flags, f"-I{ROOT / 'csrc'}"]
    command += [f"-I{ROOT / 'tests/csrc/cuda'}", *(str(ROOT / source) for source in SOURCES)]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("encoder"), "-O2")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("encoder"), "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run(
    program: Path, config: ModelConfig, batch: int = 1, windows: int = 1, warps: int = 12, shared: int = LARGE
) -> dict[str, dict[str, float]]:
    """Facts by precision: the result's error and scale, barriers, bank conflicts, bytes of both memories."""
    dims = (config.sample_interval, config.step, config.horizon, config.joint_dim, config.emb_dim)
    dims += (config.num_encoder_layers, config.expansion_factor, config.reduce_token, config.reduce_channel)
    command = [str(program), *map(str, (*dims, batch, windows, warps, shared))]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    facts = {}
    for line in process.stdout.splitlines():
        precision, rest = line.split(" ", 1)
        facts[precision] = {name: float(number) for name, number in re.findall(r"(\w+) (\S+)", rest)}
    assert list(facts) == list(TOLERANCES)
    for precision, tolerance in TOLERANCES.items():
        error, scale = facts[precision]["error"], facts[precision]["scale"]
        assert error <= tolerance * scale, f"{precision}: off by {error}, of {scale}"
    return facts


@pytest.mark.parametrize("name", SHAPES)
def test_one_window_equals_the_formulas(check: Path, name: str) -> None:
    facts = run(check, SHAPES[name])
    assert all(fact["workspace"] == 0 and fact["conflicts"] == 0 for fact in facts.values())


@pytest.mark.parametrize(("batch", "windows"), [(5, 2), (16, 16), (3, 4)])
def test_windows_share_a_block(check: Path, batch: int, windows: int) -> None:
    """Also where the last block has fewer of them."""
    run(check, published("jhmdb", 4, 8), batch, windows, warps=16)


@pytest.mark.parametrize("shared", [LARGE, 2000], ids=["shared", "workspace"])
@pytest.mark.parametrize("name", EDGES)
def test_any_shape_and_number_of_warps(check: Path, name: str, shared: int) -> None:
    facts = run(check, EDGES[name], batch=2, windows=1, warps=1, shared=shared)
    same = run(check, EDGES[name], batch=2, windows=2, warps=5, shared=shared)
    assert [fact["error"] for fact in facts.values()] == [fact["error"] for fact in same.values()]
    assert name == "one" or (facts["bf16"]["workspace"] > 0) == (shared < LARGE)


def test_small_cards_keep_the_rest_in_device_memory(check: Path) -> None:
    facts = run(check, SHAPES["aist-smpl"], warps=8, shared=SMALL)
    assert all(0 < fact["shared"] <= SMALL and fact["workspace"] > 0 for fact in facts.values())


def test_barriers_of_a_layer(check: Path) -> None:
    """Twelve a layer, and five for the ends of the network: csrc/cuda/README.md says which."""
    facts = run(check, SHAPES["h36m"])
    assert {fact["barriers"] for fact in facts.values()} == {12 * SHAPES["h36m"].num_encoder_layers + 5}


@pytest.mark.parametrize("name", ["3dpw", "odd", "long", "default"])
def test_under_address_sanitizer(sanitized: Path, name: str) -> None:
    config = EDGES.get(name) or SHAPES[name]
    run(sanitized, config, batch=3, windows=2, warps=6)
    run(sanitized, config, batch=1, windows=1, warps=6, shared=2000)

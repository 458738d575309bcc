"""Emulated: the CUDA encoder's kernel, built as plain C++ over the emulation of a card, and run on one network."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.networks import ODD

from mixsynth_stream.config import ModelConfig

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "csrc" / "cuda"
SOURCES = ("tests/csrc/cuda/encoder_check.cpp", "csrc/cuda/operands.cpp", "csrc/pack.cpp")
# The largest error, as a share of the largest number of the result.
TOLERANCES = {"strict": 1e-5, "tf32": 5e-3, "bf16": 5e-2}
# Shared memory that one block may have on the largest cards and on the smallest.
LARGE, SMALL = 227 * 1024, 99 * 1024
# Odd sizes, one token, and more tokens and channels than a warp holds at once.
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
# The compiler's options to look for wrong addresses and undefined behaviour.
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str:
    """The C++ compiler; skips the test where there is none."""
    path = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if path is None:
        pytest.skip("no C++ compiler")
    return path


def built_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Path]) -> Path:
    """What `make` builds in a folder that all processes of this run of the tests share."""
    shared = "PYTEST_XDIST_WORKER" in os.environ
    folder = factory.getbasetemp().parent / name if shared else factory.mktemp(name)
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "path"
        if not path.exists():
            path.write_text(str(make(folder)), encoding="utf-8")
    return Path(path.read_text(encoding="utf-8"))


def build(folder: Path, *flags: str) -> Path:
    """The program of encoder_check.cpp, which has a page on its arguments."""
    program = folder / "encoder_check"
    command = [compiler(), "-std=c++17", "-Wall", "-Wextra", "-Werror", *flags, f"-I{ROOT / 'csrc'}", f"-I{FOLDER}"]
    subprocess.run([*command, *(str(ROOT / source) for source in SOURCES), "-o", str(program)], check=True)
    return program


def build_emulation(folder: Path, *flags: str) -> Path:
    """The program of emulation_check.cpp."""
    program = folder / "emulation_check"
    command = [compiler(), "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", *flags, f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, str(FOLDER / "emulation_check.cpp"), "-o", str(program)], check=True)
    return program


def run(
    program: Path,
    config: ModelConfig,
    batch: int = 1,
    windows: int = 1,
    warps: int = 11,
    shared: int = LARGE,
    precisions: Sequence[str] = tuple(TOLERANCES),
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
    assert list(facts) == list(precisions)
    for precision, fact in facts.items():
        error, scale = fact["error"], fact["scale"]
        assert error <= TOLERANCES[precision] * scale, f"{precision}: off by {error}, of {scale}"
    return facts

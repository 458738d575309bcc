"""Tests of the vectorised power of two, GELU and sigmoid: they stay within the errors that csrc/README.md states."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVX512 = ("avx512f", "avx512vl", "avx512dq", "avx512bw")
REGISTERS = {"Simd128": (), "Simd256": ("avx2", "fma"), "Simd512": (*AVX512, "fma")}
# Every 499th float of the range: four million powers, with all exponents equally often.
STEP = 499


def processor_has(instructions: tuple[str, ...]) -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return not instructions or (cpuinfo.exists() and set(instructions) <= set(cpuinfo.read_text().split()))


@pytest.mark.parametrize("registers", REGISTERS)
def test_worst_errors(registers: str, tmp_path: Path) -> None:
    instructions = REGISTERS[registers]
    if not processor_has(instructions):
        pytest.skip(f"this processor lacks {', '.join(instructions)}")
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    program = tmp_path / "math_check"
    command = [compiler, "-std=c++17", "-O2", "-fno-trapping-math", "-fno-math-errno", f"-I{ROOT / 'csrc'}"]
    command += [f"-DSIMD={registers}", *(f"-m{name}" for name in instructions)]
    subprocess.run([*command, str(ROOT / "tests/csrc/math_check.cpp"), "-o", str(program)], check=True)
    words = subprocess.run([str(program), str(STEP)], capture_output=True, text=True, check=True).stdout.split()
    errors = {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    assert 0.5 < errors["power_ulps"] <= 2.0
    assert errors["power_ulps_below"] <= 2.0
    assert errors["gelu_error"] <= 3e-7
    assert errors["sigmoid_error"] <= 2e-7
    assert errors["keep_nan"] == 4
    lanes = {"Simd128": 4, "Simd256": 8, "Simd512": 16}[registers]
    assert errors["sum"] == sum(range(lanes))
    assert errors["largest"] == lanes - 1

"""The vectorised power of two, GELU and sigmoid of the C++ core stay within the errors that csrc/README.md states."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVX512 = ("avx512f", "avx512vl", "avx512dq", "avx512bw")
REGISTERS = {"Simd128": (), "Simd256": ("avx2", "fma"), "Simd512": (*AVX512, "fma")}
# Every 499th float between the ends: four million powers, spread evenly over their exponents.
STEP = 499


def processor_has(instructions: tuple[str, ...]) -> bool:
    known = Path("/proc/cpuinfo")
    return not instructions or (known.exists() and set(instructions) <= set(known.read_text().split()))


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
    said = subprocess.run([str(program), str(STEP)], capture_output=True, text=True, check=True).stdout.split()
    found = {name: float(value) for name, value in zip(said[::2], said[1::2], strict=True)}
    assert 0.5 < found["power_ulps"] <= 2.0
    assert found["power_ulps_below"] <= 2.0
    assert found["gelu_error"] <= 3e-7
    assert found["sigmoid_error"] <= 2e-7
    assert found["keep_nan"] == 4
    lanes = {"Simd128": 4, "Simd256": 8, "Simd512": 16}[registers]
    assert found["sum"] == sum(range(lanes))
    assert found["largest"] == lanes - 1

"""Kernel gates: the kernels compile ahead of time for sm_90 as they should, and faults are seen."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.networks import ODD

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

SHAPE = "jhmdb"
SCRIPT = Path(__file__).parents[2] / "scripts" / "kernel_gates.py"

LOG = """ptxas info    : Compiling entry function 'k' for 'sm_90a'
ptxas info    : Function properties for k
    16 bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used 254 registers, used 1 barriers
"""
ON_TENSOR_CORES = (
    " %0 = tt.dot %a, %b, %c : tensor<16x64xbf16, #ttg.dot_op<{opIdx = 0, parent = #mma1}>> * tensor<64x32xbf16, "
    "#ttg.dot_op<{opIdx = 1, parent = #mma1}>> -> tensor<16x32xf32, #mma1> loc(#loc1)\n"
    " %1 = ttng.warp_group_dot %a, %d, %c : tensor<64x32xbf16, #mma2> * !ttg.memdesc<32x64xbf16, #shared7, #smem> -> "
    "tensor<64x64xf32, #mma3> loc(#loc2)\n"
)
ON_ORDINARY_CORES = ON_TENSOR_CORES.replace("<64x64xf32, #mma3>", "<64x64xf32, #blocked4>")
PTX = (
    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1};\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16\n"
)


@pytest.fixture(scope="module")
def gates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kernel_gates", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules["kernel_gates"] = importlib.util.module_from_spec(spec)  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def outcome_of(gates: ModuleType, **changes: Any) -> Any:
    """A kernel with nothing wrong, but for the changes."""
    log = LOG.format(stores=0, loads=0)
    facts = {"log": log, "ttgir": ON_TENSOR_CORES, "ptx": PTX, "shared": 99 * 1024, "operand": "bf16", "compile_s": 3.0}
    return gates.outcome_of(**(facts | changes))


def test_a_kernel_as_it_should_be(gates: ModuleType) -> None:
    outcome = outcome_of(gates)
    assert outcome.faults("sm_89") == []
    assert (outcome.registers, outcome.products, outcome.tensor_cores) == (254, 2, 2)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"log": LOG.format(stores=12, loads=8)}, "20 bytes spilled"),
        ({"shared": 100 * 1024}, "102400 bytes of shared memory, of 101376"),
        ({"ttgir": ON_ORDINARY_CORES}, "1 of 2 products without tensor cores"),
        ({"ptx": PTX.replace("bf16", "tf32")}, "no tensor-core instruction with operands of the precision"),
        ({"compile_s": 61.0}, "61 s to compile, of 60"),
        ({"log": "ptxas fatal : no"}, "does not compile: the assembler said nothing of registers: ptxas fatal : no"),
    ],
    ids=["spills", "shared", "ordinary-cores", "other-operands", "slow", "silent"],
)
def test_what_is_wrong_is_named(gates: ModuleType, changes: dict[str, Any], fault: str) -> None:
    assert outcome_of(gates, **changes).faults("sm_89") == [fault]


def test_larger_cards_hold_more(gates: ModuleType) -> None:
    assert [bool(outcome_of(gates, shared=200 * 1024).faults(arch)) for arch in ("sm_80", "sm_89", "sm_90")] == [
        1,
        1,
        0,
    ]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    # One thread each: the compilers are what runs side by side.
    command, environment = [sys.executable, str(SCRIPT), *options], {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)


@pytest.fixture(scope="module")
def judged() -> subprocess.CompletedProcess[str]:
    return run("--shape", SHAPE)


def test_a_published_shape_in_bf16_on_sm_90(judged: subprocess.CompletedProcess[str]) -> None:
    """`make gates` judges all shapes and cards."""
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "every kernel is fine" in judged.stdout
    assert f"sm_90 bf16 {SHAPE} " in judged.stdout
    assert " x4 " in judged.stdout, "short windows are launched in groups too"
    assert f"{SHAPE} channel_branch_bwd " in judged.stdout, "training is judged too"


@pytest.mark.usefixtures("judged")
def test_a_fault_fails_and_what_is_known_is_not_compiled_again(gates: ModuleType, tmp_path: Path) -> None:
    outcomes = tmp_path / "outcomes.json"
    known = json.loads(gates.OUTCOMES.read_text())
    outcomes.write_text(json.dumps({key: value | {"spills": 4} for key, value in known.items()}))
    again = run("--part", "forward", "--shape", SHAPE, "--outcomes", str(outcomes))
    assert again.returncode == 1 and ", 0 of them to compile" in again.stderr
    assert "4 bytes spilled" in again.stdout and "kernels fail" in again.stdout


def test_every_shape_has_its_kernels_judged(gates: ModuleType) -> None:
    """Both layouts of short windows, and one of those that stay the same whatever the batch."""
    short = dataclasses.replace(ODD, sample_interval=5, step=1, horizon=0)
    jobs = list(gates.jobs_for({"short": short}, ["bf16", "strict"], ["sm_90"], ["forward"]))
    windows: dict[str, set[int]] = {"bf16": set(), "strict": set()}
    for job in jobs:
        windows[job.precision].add(job.specialisation().constexprs["tile"].windows)
    assert windows == {"bf16": {1, 4}, "strict": {1}}

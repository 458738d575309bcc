"""CUDA gates: what is wrong with a kernel is seen. `make gates` compiles them all."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "cuda_gates.py"
NAME = (
    "_ZN8mixsynth4card20fixed_encoder_kernelINS0_4Bf16ILb1EEE"
    "NS0_10FixedSizesILi101ELi64ELi25ELi64ELi128EEELi12EEEvNS0_7ForwardE"
)
LOG = """ptxas info    : Compiling entry function '{name}' for 'sm_90'
ptxas info    : Function properties for {name}
    {stack} bytes stack frame, {stack} bytes spill stores, {stack} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers{smem}
"""
CODE = """.text.{name}:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 {product} R36, R4, R2, R36 ;
        /*0020*/                   {local} R37, R4 ;
"""


@pytest.fixture(scope="module")
def gates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cuda_gates", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules["cuda_gates"] = importlib.util.module_from_spec(spec)  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def outcome_of(gates: ModuleType, **changes: Any) -> Any:
    """A kernel with nothing wrong, but for the changes."""
    facts = {"name": NAME, "stack": 0, "registers": 168, "smem": "", "product": "HMMA.16816.F32.BF16", "local": "LDS"}
    (outcome,) = gates.outcomes_of(LOG.format(**(facts | changes)), CODE.format(**(facts | changes)), "sm_90")
    return outcome


def test_a_kernel_as_it_should_be(gates: ModuleType) -> None:
    outcome = outcome_of(gates)
    assert outcome.faults() == []
    assert (outcome.kernel, outcome.precision, outcome.threads) == ("T 101, C 64", "bf16", 384)
    assert (outcome.registers, outcome.tensor_cores) == (168, 1)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"stack": 20}, "20 bytes spilled, of 16"),
        ({"registers": 200}, "200 registers for each of 384 threads, of 65536 in all"),
        ({"smem": ", 64 bytes smem"}, "64 bytes of static shared memory"),
        ({"product": "HMMA.1688.F32.TF32"}, "no tensor-core instruction with operands of the precision"),
        ({"local": "LDL"}, "1 accesses to local memory: an array is indexed where it cannot be in registers"),
    ],
    ids=["spills", "registers", "static", "operands", "local"],
)
def test_what_is_wrong_is_named(gates: ModuleType, changes: dict[str, Any], fault: str) -> None:
    assert outcome_of(gates, **changes).faults() == [fault]


def test_names_of_kernels(gates: ModuleType) -> None:
    general = "_ZN8mixsynth4card14encoder_kernelINS0_5FloatILb{}ELb{}EEELi8EEEvNS0_7ForwardE"
    assert gates.title_of(general.format(1, 1)) == ("any shape", "strict", 8)
    assert gates.title_of(general.format(0, 0)) == ("any shape, with a workspace", "tf32", 8)


def test_only_changed_files_are_compiled_again(
    gates: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled = []
    outcome = outcome_of(gates)
    monkeypatch.setattr(gates, "nvcc", lambda: "true")
    monkeypatch.setattr(gates, "disassembler", lambda: "true")
    monkeypatch.setattr(gates, "key_of", lambda compiler, unit, arch, version: f"{unit} {arch}")
    monkeypatch.setattr(gates, "_compiled", lambda compiler, tool, unit, arch: compiled.append(unit) or [outcome])
    for _ in range(2):
        assert gates.judge(["sm_90"], tmp_path / "build" / "outcomes.json") == [outcome] * 2
    assert sorted(compiled) == ["general", "shapes"]
    text, wrong = gates.report([outcome, dataclasses.replace(outcome, spilled=40)])
    assert wrong == 1 and "40 bytes spilled, of 16" in text

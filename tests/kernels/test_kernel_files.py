"""Each file with kernels has, by its name, a reference, a test file and a bench case."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mixsynth_stream.bench.kernels.run import OP_NAMES

ROOT = Path(__file__).parents[2]


def is_kernel(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.endswith("_kernel")


# As benchmarks name them: "synth_mix", "training/synth_mix".
FILES = sorted(
    path.relative_to(ROOT / "kernels").with_suffix("").as_posix()
    for path in (ROOT / "kernels").rglob("*.py")
    if any(map(is_kernel, ast.parse(path.read_text()).body))
)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_kernels_has_its_test_file(name):
    """`training/synth_mix` is tested in `training/test_training_synth_mix.py`: names of test files are unique."""
    file = Path(__file__).parent / name
    assert file.with_name(f"test_{name.replace('/', '_')}.py").is_file()


def test_every_file_with_kernels_is_a_bench_case_and_nothing_else_is():
    assert sorted(OP_NAMES) == FILES

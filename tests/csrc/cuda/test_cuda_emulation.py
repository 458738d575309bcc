"""Tests of the emulated card: kernels with one fault each are refused, with the fault's name, and right ones run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.emulated import build_emulation, built_once

FAULT_EXIT = 3


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory, "emulation", build_emulation)


def run(program: Path, kernel: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), kernel], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("kernel", "numbers"),
    [("neighbour", "1 0"), ("neighbour_of_warp", "1 32"), ("sum_of_warp", "496 496"), ("a_result_each", "nan nan")],
)
def test_a_right_kernel_runs_in_either_order(check: Path, kernel: str, numbers: str) -> None:
    process = run(check, kernel)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == [numbers, numbers]


@pytest.mark.parametrize(
    ("kernel", "fault"),
    [
        ("read_without_barrier", "where thread 0 read since the last barrier"),
        ("read_of_another_warp", "where thread 0 read since the last barrier"),
        ("read_after_write", "thread 1 reads what thread 0 wrote since the last barrier"),
        ("write_after_read", "writes where thread 0 read since the last barrier"),
        ("two_writers", "thread 1 writes where thread 0 wrote since the last barrier"),
        ("half_of_a_barrier", "a barrier that not all threads reach"),
        ("half_of_a_warp", "an instruction of a warp that not all of its lanes reach"),
        ("different_instructions", "lanes of one warp are at different instructions"),
        ("beyond_the_end", "leaves the memory of its block"),
        ("result_twice", "result 0 is written a second time"),
        ("result_left_out", "result 0 is never written"),
        ("result_beyond_the_end", "a result is written beyond the last one"),
        ("between_numbers", "an address is no multiple of the 4 bytes that it names"),
    ],
)
def test_a_fault_is_named(check: Path, kernel: str, fault: str) -> None:
    process = run(check, kernel)
    assert process.returncode == FAULT_EXIT, process.stdout
    assert fault in process.stderr and "emulation_check.cpp:" in process.stderr


def test_uninitialised_memory_is_nan(check: Path) -> None:
    assert run(check, "uninitialised").stdout.splitlines()[0] == "nan"

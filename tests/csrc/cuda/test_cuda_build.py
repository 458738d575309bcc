"""Building the CUDA encoder: what the environment chooses, and what an installation without nvcc is told."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("setuptools")
pytest.importorskip("pybind11")

ROOT = Path(__file__).parents[3]
NVCC = """#!/bin/sh
echo "Cuda compilation tools, release {release}, V{release}"
"""
NVIDIA_SMI = """#!/bin/sh
printf 'compute_cap\\n{capabilities}\\n'
"""


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def setup(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """setup.py as far as the package's name, with no programs but those in `folder`."""
    environment = {"PATH": str(folder), "HOME": str(folder), **variables}
    command = [sys.executable, "setup.py", "--name"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


@pytest.fixture(scope="module")
def architectures() -> Callable[[], list[str]]:
    """The function of setup.py, which has run as far as the package's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["setup.py", "--name"])
        patch.setenv("MIXSYNTH_CUDA", "0")
        patch.chdir(ROOT)
        function: Callable[[], list[str]] = runpy.run_path("setup.py")["architectures"]
    return function


@pytest.mark.parametrize(
    ("release", "variables", "sentence"),
    [
        (None, {}, "the CUDA encoder is left out: there is no nvcc on the PATH\n"),
        ("11.8", {}, "the CUDA encoder is left out: nvcc is 11.8, but 12.8 is needed\n"),
        (None, {"MIXSYNTH_CUDA": "0"}, ""),
        (None, {"MIXSYNTH_CUDA": "1"}, "MIXSYNTH_CUDA=1, but there is no nvcc on the PATH\n"),
        ("12.4", {"MIXSYNTH_CUDA": "1"}, "MIXSYNTH_CUDA=1, but nvcc is 12.4, but 12.8 is needed\n"),
        (None, {"MIXSYNTH_CUDA": "yes"}, "MIXSYNTH_CUDA must be 0, 1 or auto, found 'yes'\n"),
    ],
    ids=["none", "old", "left out", "none, but required", "old, but required", "neither"],
)
def test_without_a_new_nvcc_one_line_says_so(
    tmp_path: Path, release: str | None, variables: dict[str, str], sentence: str
) -> None:
    if release:
        program(tmp_path, "nvcc", NVCC.format(release=release))
    process = setup(tmp_path, **variables)
    is_fine = variables.get("MIXSYNTH_CUDA", "auto") in ("0", "auto")
    assert (process.returncode == 0) == is_fine, process.stderr
    assert process.stderr.endswith(sentence) if sentence else not process.stderr
    assert "CUDA encoder" not in process.stdout


@pytest.mark.parametrize(
    ("capabilities", "choice", "archs"),
    [
        ("", "", "80 86 89 90 100 120"),
        ("8.9", "", "89"),
        (r"12.1\n8.7\n12.0", "", "86 120"),
        ("7.5", "", "80 86 89 90 100 120"),
        ("", "one", "90"),
        ("8.6", "one", "86"),
        ("8.6", "all", "80 86 89 90 100 120"),
        ("8.6", "80,90", "80 90"),
    ],
)
def test_code_is_for_the_cards_of_this_machine_or_all(
    architectures: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capabilities: str,
    choice: str,
    archs: str,
) -> None:
    if capabilities:
        program(tmp_path, "nvidia-smi", NVIDIA_SMI.format(capabilities=capabilities))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MIXSYNTH_ARCH", choice)
    assert re.findall(r"code=sm_(\d+)", " ".join(architectures())) == archs.split()


def test_an_unknown_architecture_lists_the_choices(
    architectures: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXSYNTH_ARCH", "75")
    sentence = "MIXSYNTH_ARCH must be all, one, or list some of 80 86 89 90 100 120, found '75'"
    with pytest.raises(SystemExit, match=sentence):
        architectures()

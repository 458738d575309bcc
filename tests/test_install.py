"""The package as setup.py lays it out, away from the checkout: every module is there and can be imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mixsynth_stream import _C
from mixsynth_stream.files import CHECKOUT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, built from a copy; the extension is the one that is built already."""
    copy, folder = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("site-packages")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(CHECKOUT / name, copy)
    for name in ("mixsynth_stream", "kernels", "pipeline", "csrc"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(folder)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True, timeout=120)
    shutil.copy(_C.__file__, folder / "mixsynth_stream")
    return folder


def check(installed: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, str(CHECKOUT / "scripts/check_install.py")]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_every_module_is_installed_and_can_be_imported(installed, tmp_path):
    result = check(installed, tmp_path)
    assert result.returncode == 0, result.stderr
    count, _, total = result.stdout.split()[:3]
    assert count == total and int(count) > 100


def test_a_folder_that_is_not_installed_is_named(installed, tmp_path):
    shutil.copytree(installed, tmp_path / "short")
    shutil.rmtree(tmp_path / "short/mixsynth_stream/pipeline/sources")
    result = check(tmp_path / "short", tmp_path)
    assert result.returncode == 1
    assert "mixsynth_stream.pipeline.sources.video: " in result.stderr


def test_what_ships_beside_the_code_is_there(installed):
    assets = {path.name for path in (CHECKOUT / "mixsynth_stream/assets").iterdir() if path.is_file()}
    assert assets == {path.name for path in (installed / "mixsynth_stream/assets").iterdir()}
    page = {path.name for path in (CHECKOUT / "mixsynth_stream/viewer/web/static").iterdir()}
    assert page == {path.name for path in (installed / "mixsynth_stream/viewer/web/static").iterdir()}
    assert (installed / "mixsynth_stream/py.typed").is_file()

"""Rules of the house that no linter knows; CONTRIBUTING.md says them in words."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = (".py", ".cpp", ".h", ".cu", ".cuh")
TEXT = (*CODE, ".md", ".toml", ".txt", ".sh", ".cfg", "")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def tracked() -> list[Path]:
    """Files that git knows; in an unpacked archive, every file of the source folders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
    folders = ("mixsynth_stream", "pipeline", "kernels", "csrc", "examples", "scripts", "tests")
    return [p for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]


FILES = tracked()
SOURCES = [p for p in FILES if p.suffix in CODE]
SHIPPED = [
    p
    for p in SOURCES
    if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in ("mixsynth_stream", "pipeline", "kernels")
]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_file_is_short_enough_to_read(path):
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES, "split it at its second reason to change"


@pytest.mark.parametrize("path", SHIPPED, ids=shown)
def test_python_keeps_the_rules(path):
    tree = ast.parse(path.read_text())
    assert path.stem not in ("utils", "util", "common", "helpers", "misc"), "name it after what it does"
    for node in functions(tree):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{node.name}, line {node.lineno}: {length} lines"
        returns = node.returns is not None or node.name == "__init__"
        assert returns, f"{node.name}, line {node.lineno}: say what it returns"
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            silent = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert not (caught and silent), f"line {node.lineno}: an error swallowed"


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_nothing_is_left_for_later(path):
    if path == Path(__file__):
        return
    found = re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", path.read_text())
    assert found is None, f"{found.group()}: finish it, or open an issue" if found else ""


def test_no_path_of_a_machine_is_written_down():
    pattern = re.compile(rf"(/home/|/root/|/Users/|{re.escape(str(ROOT))})")
    wrong = [
        f"{shown(path)}: {found.group()}"
        for path in FILES
        if path.suffix in TEXT and path != Path(__file__)
        for found in [pattern.search(path.read_text(errors="replace"))]
        if found
    ]
    assert not wrong, wrong


def test_everything_from_others_is_credited():
    """Each shipped asset stands in the table beside it, and what others made stands in NOTICE."""
    table = (ROOT / "mixsynth_stream/assets/README.md").read_text()
    missing = [
        path.name
        for path in FILES
        if path.parent == ROOT / "mixsynth_stream/assets"
        and path.name not in ("README.md", "__init__.py")
        and path.name not in table
    ]
    assert not missing, f"{missing} have no row in mixsynth_stream/assets/README.md"
    notice = " ".join((ROOT / "NOTICE").read_text().split())
    for credit in ("MediaPipe", "Pose2Sim", "mocap.cs.cmu.edu", "NSF EIA-0196217", "Vakanski"):
        assert credit in notice, f"NOTICE does not credit {credit}"


def test_every_package_is_installed():
    """A folder that setup.py does not name works in the checkout and is missing from the wheel."""
    setup = (ROOT / "setup.py").read_text()
    for path in SHIPPED:
        if path.name == "__init__.py":
            parts = path.parent.relative_to(ROOT).parts
            package = ".".join(parts if parts[0] == "mixsynth_stream" else ("mixsynth_stream", *parts))
            assert f'"{package}"' in setup, f"setup.py does not list {package}"


def test_short_imports_of_mapped_packages_are_refused_by_the_linter():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "tests/short.py", "-"],
        cwd=ROOT, input="from __future__ import annotations\n\nimport kernels\nfrom pipeline import Stream\n",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.count("TID251") == 2, done.stdout + done.stderr

"""Rules of the house that no linter knows; CONTRIBUTING.md says them in words."""

from __future__ import annotations

import ast
import collections
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = (".py", ".cpp", ".h", ".cu", ".cuh")
TEXT = (*CODE, ".md", ".toml", ".txt", ".sh", ".cfg", "")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_MODULES = 25
# `# fmt: skip` is for tables of data. Where their number falls, this number falls with it.
FMT_SKIPS = 16
# Pairs that may share a first word: two ops with the paper's names; and a large window's branches with their mixture,
# which as a folder would form a circle with the rest of training.
ONE_PREFIX: tuple[frozenset[str], ...] = (
    frozenset({"synth_attention", "synth_mix"}),
    frozenset({"large_branch", "large_mix"}),
)
# Verbs and participles that say nothing of the value that they would name.
REFUSED = frozenset({"said", "found", "wanted", "asked", "made", "here"})


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


def constants_given_twice(source: str) -> list[str]:
    """Names that a module binds more than once at its top: what a merge of two branches leaves behind."""
    targets = [
        target
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    counts = collections.Counter(target.id for target in targets if isinstance(target, ast.Name))
    return [name for name, count in counts.items() if count > 1]


def test_no_constant_is_given_twice():
    twice = {shown(path): names for path in SHIPPED if (names := constants_given_twice(path.read_text()))}
    assert not twice
    assert constants_given_twice("A = 1\nB: int = 2\nA = 1\n") == ["A"]


def prefix_twins(names: Collection[str]) -> list[str]:
    """Siblings that share the word before their first underscore: they want a folder of that name."""
    rooms: dict[str, list[str]] = {}
    for name in names:
        rooms.setdefault(name.split("_")[0], []).append(name)
    return [
        ", ".join(sorted(room))
        for word, room in rooms.items()
        if word and len(room) > 1 and not any(names == frozenset(room) for names in ONE_PREFIX)
    ]


def folders_of_code() -> dict[Path, list[str]]:
    """The modules and folders in each folder that ships, without __init__ and its like."""
    folders: dict[Path, list[str]] = {}
    for path in SHIPPED:
        if not path.stem.startswith("_"):
            folders.setdefault(path.parent, []).append(path.stem)
        elif path.stem == "__init__" and path.parent.parent != ROOT:
            folders.setdefault(path.parent.parent, []).append(path.parent.name)
    return folders


def test_no_two_siblings_have_one_prefix():
    twins = {shown(folder): twins for folder, names in folders_of_code().items() if (twins := prefix_twins(names))}
    assert not twins


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (["train", "train_loop"], 1),
        (["bench_push", "bench_truth", "draw"], 1),
        (["loop", "curves", "read_ahead"], 0),
        (["synth_attention", "synth_mix"], 0),
        (["synth_attention", "synth_mix", "synth_other"], 1),
    ],
)
def test_prefix_twins_are_found(names, count):
    assert len(prefix_twins(names)) == count


def test_a_folder_can_be_taken_in_at_a_glance():
    modules = collections.Counter(path.parent for path in SHIPPED)
    full = {shown(folder): count for folder, count in modules.items() if count > MAX_MODULES}
    assert not full, "a folder of so many modules has rooms in it"


def names_of_values(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of everything that code gives a name to: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def refused_names(source: str) -> list[str]:
    return [f"line {line}: {name}" for line, name in names_of_values(ast.parse(source)) if name.strip("_") in REFUSED]


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".py"], ids=shown)
def test_names_are_nouns(path):
    assert not refused_names(path.read_text()), "the glossary in CONTRIBUTING.md has the words"


@pytest.mark.parametrize(
    "source", ["found = 1", "def f(wanted): ...", "self.said = 2", "for here in x: ...", "def _asked(): ..."]
)
def test_a_refused_name_is_found(source):
    assert refused_names(source)


def test_hand_laid_code_only_gets_less():
    count = sum(len(re.findall(r"# fmt: (?:skip|off)", path.read_text())) for path in SOURCES if path != Path(__file__))
    assert count <= FMT_SKIPS, "let ruff lay it out, or make it shorter; `# fmt: skip` is for tables of data"
    assert count == FMT_SKIPS, f"there are fewer now: set FMT_SKIPS to {count}"


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_nothing_is_left_for_later(path):
    if path == Path(__file__):
        return
    words = re.findall(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b", path.read_text())
    assert not words, "finish it, or open an issue"


def test_no_path_of_a_machine_is_written_down():
    pattern = re.compile(rf"(/home/|/root/|/Users/|{re.escape(str(ROOT))})")
    texts = {path: path.read_text(errors="replace") for path in FILES if path.suffix in TEXT and path != Path(__file__)}
    assert not [f"{shown(path)}: {match.group()}" for path, text in texts.items() if (match := pattern.search(text))]


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
    data = ("mocap.cs.cmu.edu", "NSF EIA-0196217", "Vakanski", "snumrl", "NCSOFT", "AnimatedDrawings", "biomechZoo")
    for credit in ("MediaPipe", "Pose2Sim", *data):
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
    process = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "tests/short.py", "-"],
        cwd=ROOT,
        input="from __future__ import annotations\n\nimport kernels\nfrom pipeline import Stream\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.count("TID251") == 2, process.stdout + process.stderr

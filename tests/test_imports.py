"""Imports point one way, and heavy packages are loaded only where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Every module belongs to one level (the longest prefix that matches; train_epochs goes with train) and may import its
# own level and those below it. A new module at the top of the package has to be given its place here.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("config", "errors", "interpolation", "metrics", "normalise", "parameters", "skeleton", "baselines", "rotations"),
    ("network", "kernels", "_C", "pipeline.motion", "uncertainty"),
    ("backend",),
    ("weights",),
    ("pipeline", "data", "skeleton_adapters"),
    ("train", "evaluate", "bench", "viewer", "export", "progress", "interrupt", "info", "convert", "fit_uncertainty"),
    ("run",),
    ("demo", "webcam"),
    ("cli",),
    ("__main__", "__init__"),
)
TORCH_MAY = ("network", "kernels", "train", "evaluate", "backend", "weights", "bench", "convert", "info")
HEAVY = ("numpy", "torch", "av", "mediapipe", "safetensors", "matplotlib", "triton")


def modules() -> Iterator[tuple[str, Path]]:
    """(name inside the package, file) of every module that ships."""
    for folder, prefix in (("mixsynth_stream", ""), ("kernels", "kernels."), ("pipeline", "pipeline.")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = prefix + ".".join(path.relative_to(ROOT / folder).with_suffix("").parts)
            yield (name.removesuffix(".__init__") if "." in name else name), path


def imported(tree: ast.AST, *, run_time_only: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import. `if TYPE_CHECKING:` is no import at run time."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            if not run_time_only:
                yield from imported(node)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the full name, not a relative import"
            module = node.module or ""
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        else:
            yield from imported(node, run_time_only=run_time_only)


def belongs(name: str, family: str) -> bool:
    return name == family or name.startswith((family + ".", family + "_"))


def level(name: str) -> int | None:
    """The level of a module, by the longest prefix that names it."""
    found: tuple[int, int] | None = None
    for number, prefixes in enumerate(LEVELS):
        for prefix in prefixes:
            if belongs(name, prefix) and (found is None or len(prefix) > found[1]):
                found = number, len(prefix)
    return None if found is None else found[0]


def upward_imports(name: str, source: str) -> list[str]:
    here = level(name)
    assert here is not None, f"{name} has no place in LEVELS: put it where it belongs"
    wrong = []
    for line, target in imported(ast.parse(source), run_time_only=True):
        package, _, rest = target.partition(".")
        if package != "mixsynth_stream" or rest in ("", "__version__"):
            continue
        there = level(rest)
        # `from mixsynth_stream import X` is the lazy public face; inside the package the full name says where X lives.
        if there is None or there > here:
            wrong.append(f"{name}, line {line}: {target}")
    return wrong


def test_imports_point_downward():
    wrong = [w for name, path in modules() for w in upward_imports(name, path.read_text())]
    assert not wrong, "imports against the direction:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "from mixsynth_stream.pipeline.stream import Stream",
        "def f():\n    from mixsynth_stream.cli import main",
        "from mixsynth_stream import Stream",
    ],
)
def test_an_upward_import_is_found(source):
    assert upward_imports("weights", source)


def test_type_checking_imports_may_point_anywhere():
    assert not upward_imports("weights", "if TYPE_CHECKING:\n    from mixsynth_stream.cli import main")


def test_torch_is_imported_only_where_it_is_needed():
    for name, path in modules():
        found = [
            line for line, t in imported(ast.parse(path.read_text()), run_time_only=True) if t.split(".")[0] == "torch"
        ]
        assert not found or any(belongs(name, family) for family in TORCH_MAY), f"{path}, line {found[0]} imports torch"


def loaded_after(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after running `code`."""
    report = f"\nimport sys\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + report], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["train", "--help"], ["bench", "--help"], ["--version"]]
)
def test_help_loads_nothing_heavy(arguments):
    code = f"""
        from mixsynth_stream.cli import main
        try:
            main({arguments!r})
        except SystemExit as done:
            assert not done.code
    """
    assert loaded_after(code) == set()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import mixsynth_stream, mixsynth_stream.pipeline, mixsynth_stream.export") == set()


def test_streaming_on_a_cpu_loads_no_torch():
    code = """
        import itertools
        from mixsynth_stream import Stream
        with Stream("synthetic:") as stream:
            for motion in itertools.islice(stream, 40):
                pass
        assert stream.stats.estimator_calls
    """
    assert loaded_after(code) & {"torch", "triton", "matplotlib"} == set()


def test_a_bare_checkout_says_how_to_install(tmp_path):
    """After a plain install the checkout hides the package: one sentence, and no half-working import."""
    (tmp_path / "mixsynth_stream").symlink_to(ROOT / "mixsynth_stream")
    hidden = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f).lower()]; "
    done = subprocess.run(
        [sys.executable, "-c", hidden + "import mixsynth_stream"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "run from another folder, or install the checkout with `pip install -e .`" in done.stderr.splitlines()[-1]

"""Imports point one way, and heavy packages are loaded only where they are needed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

from mixsynth_stream.cli import COMMANDS

ROOT = Path(__file__).parent.parent

# Floors of the house, from the ground up. A room (a folder) or a module at the top of the package stands on one floor
# and imports only from floors below its own. A new one has to be given its place here; deeper folders may have their
# own. The longest name that fits decides: pipeline.motion is a floor of its own below the rest of pipeline.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("redact",),
    ("console",),
    (
        "config",
        "errors",
        "interpolation",
        "interrupt",
        "memory",
        "metrics",
        "rotations",
        "skeleton",
        "telemetry",
    ),
    ("files", "normalise", "parameters", "spaces", "uncertainty"),
    ("network", "presets", "reports", "_C"),
    ("kernels",),
    ("kernels.blocks", "kernels.training"),
    ("kernels.inference",),
    ("backend",),
    ("weights",),
    ("data", "pipeline.frame", "pipeline.motion"),
    ("pipeline.estimators",),
    ("pipeline.sources",),
    ("pipeline",),
    ("draw", "evaluate"),
    ("convert", "export", "train"),
    ("bench", "viewer"),
    ("send",),
    ("job",),
    ("archive", "forecast"),
    ("commands",),
    ("cli",),
    ("__init__", "__main__"),
)
TORCH_MAY = ("network", "kernels", "train", "evaluate", "backend", "weights", "bench", "convert")
HEAVY = ("numpy", "torch", "av", "mediapipe", "safetensors", "matplotlib", "triton", "pyarrow", "ray", "fsspec")


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


def belongs(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def room_of(name: str) -> str | None:
    """The room of FLOORS that a module is in; None for one that has no place yet."""
    rooms = [room for floor in FLOORS for room in floor if belongs(name, room)]
    return max(rooms, key=len, default=None)


def floor_of(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


def own_imports(source: str) -> Iterator[tuple[int, str]]:
    """(line, name inside the package) of every import of ours at run time, the lazy ones in functions too."""
    for line, target in imported(ast.parse(source), run_time_only=True):
        package, _, name = target.partition(".")
        if package == "mixsynth_stream" and name != "__version__":
            yield line, name or "__init__"


def wrong_imports(name: str, source: str) -> list[str]:
    """Imports that do not lead from a room to one on a floor below."""
    room = room_of(name)
    assert room is not None, f"{name} has no place in FLOORS: put it where it belongs"
    wrong = []
    for line, target in own_imports(source):
        # `from mixsynth_stream import X` is the lazy public face; inside the package the full name says where X lives.
        other = room_of(target)
        if other is None or (other != room and floor_of(other) >= floor_of(room)):
            wrong.append(f"{name}, line {line}: {target}")
    return wrong


def circles(imports: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Circles in `imports`, each from a name back to itself, once for each import that closes one."""
    complete: set[str] = set()
    ways: list[list[str]] = []

    def walk(name: str, way: list[str]) -> None:
        if name in way:
            ways.append([*way[way.index(name) :], name])
        elif name not in complete:
            for target in imports.get(name, ()):
                walk(target, [*way, name])
            complete.add(name)

    for name in imports:
        walk(name, [])
    return ways


def module_imports() -> dict[str, list[str]]:
    """For each module, those of ours that it imports."""
    names = {name for name, _ in modules()}
    imports: dict[str, list[str]] = {}
    for name, path in modules():
        targets = (target for _, target in own_imports(path.read_text()))
        # `from a.b import c` names the module a.b.c, or something in the module a.b.
        own = (target if target in names else target.rpartition(".")[0] for target in targets)
        imports[name] = [target for target in own if target in names]
    return imports


def test_imports_lead_to_floors_below():
    wrong = [w for name, path in modules() for w in wrong_imports(name, path.read_text())]
    assert not wrong, "imports that do not lead down:\n" + "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle():
    assert not circles(module_imports())


def test_every_room_is_there():
    """A floor plan that names rooms which are gone says nothing."""
    names = {name for name, _ in modules()} | {"_C"}
    gone = [room for floor in FLOORS for room in floor if not any(belongs(name, room) for name in names)]
    assert not gone


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("weights", "from mixsynth_stream.pipeline.stream import Stream"),
        ("weights", "def f():\n    from mixsynth_stream.cli import main"),
        ("weights", "from mixsynth_stream import Stream"),
        # Two rooms on one floor, in either direction; and from a folder to the one above it.
        ("evaluate.video", "from mixsynth_stream.draw.canvas import Canvas"),
        ("evaluate.scores", "from mixsynth_stream.train.loop import fit"),
        ("pipeline.sources.video", "from mixsynth_stream.pipeline.stream import Stream"),
        ("pipeline.motion", "from mixsynth_stream.pipeline.window import MotionWindow"),
    ],
)
def test_an_upward_import_is_found(name, source):
    assert wrong_imports(name, source)


@pytest.mark.parametrize(
    ("imports", "count"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, 0),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, 0),
        ({"a": ["b"], "b": ["a"]}, 1),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a", "x"]}, 2),
    ],
)
def test_a_circle_is_found(imports, count):
    assert len(circles(imports)) == count


def test_type_checking_imports_may_point_anywhere():
    assert not wrong_imports("weights", "if TYPE_CHECKING:\n    from mixsynth_stream.cli import main")


def missing_imports(path: Path) -> list[str]:
    """What a file imports of ours that is not there. Read, not run: some files run on machines with a card only."""
    wrong = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] != "mixsynth_stream":
            continue
        module = importlib.import_module(str(node.module))
        for alias in node.names:
            is_module = importlib.util.find_spec(f"{node.module}.{alias.name}") if hasattr(module, "__path__") else None
            if not hasattr(module, alias.name) and is_module is None:
                wrong.append(f"{path.relative_to(ROOT)}, line {node.lineno}: {node.module}.{alias.name}")
    return wrong


@pytest.mark.parametrize("folder", ["tests", "scripts", "examples"])
def test_imports_outside_the_package_name_what_is_there(folder):
    pytest.importorskip("torch")
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert not [wrong for path in files for wrong in missing_imports(path)]


def test_torch_is_imported_only_where_it_is_needed():
    for name, path in modules():
        imports = imported(ast.parse(path.read_text()), run_time_only=True)
        lines = [line for line, target in imports if target.split(".")[0] == "torch"]
        assert not lines or any(belongs(name, room) for room in TORCH_MAY), f"{path}, line {lines[0]} imports torch"


def loaded_after(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after running `code`."""
    report = f"\nimport sys\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + report], capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    return set(process.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)])
def test_help_loads_nothing_heavy(arguments):
    code = f"""
        from mixsynth_stream.cli import main
        try:
            main({arguments!r})
        except SystemExit as end:
            assert not end.code
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
    assert loaded_after(code) & {"torch", "triton", "matplotlib", "pyarrow", "ray", "fsspec"} == set()


def test_a_bare_checkout_says_how_to_install(tmp_path):
    """After a plain install the checkout hides the package: one sentence, and no half-working import."""
    (tmp_path / "mixsynth_stream").symlink_to(ROOT / "mixsynth_stream")
    hidden = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f).lower()]; "
    process = subprocess.run(
        [sys.executable, "-c", hidden + "import mixsynth_stream"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert "run from another folder, or install the checkout with `pip install -e .`" in process.stderr.splitlines()[-1]

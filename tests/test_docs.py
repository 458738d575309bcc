"""Documents: their figures are those of the results, what they name exists, and their commands parse."""

from __future__ import annotations

import fnmatch
import importlib
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from mixsynth_stream.cli import COMMANDS, parse

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def _tracked() -> list[str]:
    """Files that git knows; in an unpacked archive, every file."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]
    return [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and ".venv" not in p.parts]


FILES = _tracked()
FOLDERS = sorted({str(folder) for name in FILES for folder in Path(name).parents} - {"."})
TOP_FOLDERS = {name.split("/")[0] for name in FOLDERS}
DOCUMENTS = sorted(ROOT / name for name in FILES if name.endswith(".md"))
# A file of these kinds is ours wherever a document names one. Data and videos may be the reader's own.
OUR_KINDS = (".py", ".md", ".h", ".cpp", ".cu", ".cuh", ".sh")
# CONTRIBUTING names these because the house refuses them.
REFUSED = ("utils.py", "common.py", "helpers.py")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_NAME = re.compile(r"(?<![\w:/.<])[\w.*-]*(?:/[\w.*-]+)*/?")
_CODE_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROGRAM = re.compile(r"^(\S*/)?(mixsynth-stream|python3? -m mixsynth_stream) +")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# Files that nobody has written yet stand between these two lines.
_TO_COME = re.compile(r"<!-- to come -->.*?<!-- end -->", re.DOTALL)


def code_lines(text: str) -> list[str]:
    """Lines of code blocks, fenced or indented; a line that ends with a backslash is joined with the next."""
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            if lines and lines[-1].endswith("\\"):
                lines[-1] = lines[-1][:-1] + line.strip()
            else:
                lines.append(line.strip())
    return lines


def code_spans(text: str) -> list[str]:
    """Code within sentences; a span may run over the end of a line."""
    return [" ".join(span.split()) for span in _CODE_SPAN.findall(text)]


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(text)}


def dead_links(text: str, folder: Path) -> list[str]:
    """Links of a document in `folder` to a file or a heading that is not there."""
    dead = []
    for match in _LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = folder / target
        there = path.exists() and (not anchor or anchor in anchors(path.read_text() if target else text))
        if not there:
            dead.append(match["target"])
    return dead


def dead_names(text: str, folder: Path) -> list[str]:
    """Files and folders that a document in `folder` names and that are not in the repository."""
    dead = []
    for match in _NAME.findall(_TO_COME.sub("", text)):
        name = match.rstrip(".-/")
        ours = name.endswith(OUR_KINDS) and not name.startswith(".") and name not in REFUSED
        if not ours and not ("/" in match and name.split("/")[0] in TOP_FOLDERS):
            continue
        patterns = (name, f"*/{name}", f"{folder.relative_to(ROOT)}/{name}")
        if not any(fnmatch.filter([*FILES, *FOLDERS], pattern) for pattern in patterns):
            dead.append(name)
    return dead


def dead_python(text: str) -> list[str]:
    """Names of the package that a document imports or writes in full, and that the package does not have."""
    imports = re.findall(r"^\s*from (mixsynth_stream[\w.]*) import ([\w, ]+)", text, re.MULTILINE)
    names = [f"{module}.{name.strip()}" for module, rest in imports for name in rest.split(",")]
    names += re.findall(r"`(mixsynth_stream(?:\.\w+)+)", text)
    return [name for name in names if not _in_package(name)]


def _in_package(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module holds."""
    module, _, last = name.rpartition(".")
    if f'"{name}"' in (ROOT / "setup.py").read_text():
        return True  # an extension that is built only where there is a compiler for it
    try:
        importlib.import_module(name)
    except ImportError:
        try:
            return hasattr(importlib.import_module(module), last)
        except ImportError:
            return False
    return True


def commands(text: str) -> list[list[str]]:
    """Arguments of every command line of ours: in code blocks, and in code spans that give program and options."""
    result = []
    blocks, spans = code_lines(text), code_spans(text)
    for line, whole in [*((line, True) for line in blocks), *((span, False) for span in spans)]:
        match = _PROGRAM.match(line)
        words = shlex.split(line[match.end() :], comments=True) if match else []
        if words and words[0] in COMMANDS and "..." not in words and (whole or " -" in line[len(match[0]) :]):
            result.append(words[: words.index(">")] if ">" in words else words)
    return result


def mentions(text: str) -> list[list[str]]:
    """Words of every code span that begins with a command and names options: `bench encoder --threads 2`."""
    spans = (_PROGRAM.sub("", span) for span in code_spans(text))
    return [span.split() for span in spans if span.split(" ")[0] in COMMANDS and " --" in span]


def wrong_commands(text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the parser says of each command that it refuses, and options that the help does not list."""
    wrong = []
    for words in commands(text):
        try:
            parse(words)
        except SystemExit as leaving:
            if leaving.code == 0:  # --help
                continue
            wrong.append(f"{shlex.join(words)}: {capsys.readouterr().err.strip()}")
    for words in mentions(text):
        with pytest.raises(SystemExit):
            parse([*words[: 2 if words[0] == "bench" else 1], "--help"])
        options = re.findall(r"--[\w-]+", capsys.readouterr().out)
        wrong += [f"{' '.join(words)}: no option {word}" for word in words if word[:2] == "--" and word not in options]
    return wrong


def dead_targets(text: str) -> list[str]:
    """Targets of make that a document names and the Makefile does not have."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = "\n".join([*code_lines(text), *code_spans(text)])
    return [name for name in re.findall(r"^make (?:[A-Z]+=\S+ )*([a-z]+)", lines, re.MULTILINE) if name not in targets]


def tables_of_figures(text: str) -> list[int]:
    """Numbers of the lines at which tables begin of which most cells, but for the first column, hold a figure."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line[:1] == "|" and (i == 0 or lines[i - 1][:1] != "|")]
    result = []
    for start in starts:
        cells: list[str] = []
        for line in lines[start + 2 :]:
            if line[:1] != "|":
                break
            cells += line.strip("| ").split("|")[1:]
        if sum(bool(re.search(r"\d", cell)) for cell in cells) > len(cells) / 2:
            result.append(start)
    return result


def tables_without_command(text: str, above: int = 12, below: int = 4) -> list[str]:
    """Heads of tables of figures without a command near them: in the lines above, in their section, or right below."""
    lines = text.splitlines()
    bare = []
    for start in tables_of_figures(text):
        first = start
        while first > 0 and start - first < above and not lines[first].startswith("#"):
            first -= 1
        end = next((i for i in range(start, len(lines)) if lines[i][:1] != "|"), len(lines))
        near = "\n".join(lines[first:start] + lines[end : end + below])
        if not commands(near) and not mentions(near):
            bare.append(lines[start])
    return bare


def tables_by_hand(text: str) -> list[str]:
    """Heads of tables of figures that scripts/write_tables.py does not write."""
    lines = text.splitlines()
    return [lines[i] for i in tables_of_figures(text) if i == 0 or not lines[i - 1].startswith("<!-- table ")]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("script", [["write_tables.py", "--check"], ["check_sentences.py"]], ids=" ".join)
def test_figures_are_what_the_results_give(script):
    command = [sys.executable, ROOT / "scripts" / script[0], *script[1:]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_what_a_document_names_exists(document):
    text = document.read_text()
    assert dead_links(text, document.parent) == []
    assert dead_names(text, document.parent) == []
    assert dead_python(text) == []
    assert dead_targets(text) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_commands_in_a_document_parse(document, capsys):
    assert wrong_commands(document.read_text(), capsys) == []


@pytest.mark.parametrize("name", ["README.md", "docs/speed.md"])
def test_each_table_of_figures_has_its_command_and_its_result_file(name):
    text = (ROOT / name).read_text()
    assert tables_of_figures(text)
    assert tables_without_command(text) == []
    assert tables_by_hand(text) == []


def test_the_first_screen_says_how_to_start():
    screen = "\n".join(README.read_text().splitlines()[:45])
    for start in ("](docs/demo.png)", "make demo", "mixsynth-stream run ", "mixsynth-stream webcam", "with Stream("):
        assert start in screen, f"the first 45 lines of README.md do not have {start!r}"


def test_every_document_can_be_found_from_the_readme():
    text = README.read_text()
    for document in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{document.name}" in text, f"README.md has no link to docs/{document.name}"


def test_the_first_program_of_the_readme_runs(tmp_path):
    program = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert program is not None
    (tmp_path / "clip.mp4").write_bytes((files("mixsynth_stream") / "assets" / "demo.mp4").read_bytes())
    command = [sys.executable, "-c", program[1]]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "nose" in result.stdout


# Each check above refuses what it is there for.


def test_wrong_figures_are_seen(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    tables, sentences = (importlib.import_module(name) for name in ("write_tables", "check_sentences"))
    results = tables.Results(tables.RESULTS_FOLDER)
    texts = {name: (ROOT / name).read_text() for name in tables.DOCUMENTS}
    readme, speed = texts["README.md"], texts["docs/speed.md"]
    assert tables.rewritten(readme, results) == readme
    assert tables.rewritten(readme.replace("real videos, image | 0.", "real videos, image | 1."), results) == readme
    assert tables.misplaced([readme.replace("table pipeline", "table pipelines"), *texts.values()]) == [
        "there is no table pipelines to write"
    ]
    assert tables.misplaced(texts[name] for name in texts if name != "docs/speed.md") == [
        "the table frontier is in no document",
        "the table live is in no document",
        "the table filmed is in no document",
        "the table several is in no document",
        "the table encoder is in no document",
        "the table push is in no document",
    ]
    wrong = texts | {
        "README.md": re.sub(r"\d px off", "x px off", readme, count=1),
        "docs/speed.md": speed.replace("1.8 to 2.5 times", "1.9 to 2.5 times"),
    }
    assert sentences.missing(texts, results) == []
    assert [line.split()[0] for line in sentences.missing(wrong, results)] == ["README.md", "docs/speed.md"]


def test_dead_links_are_seen():
    text = "# One title, two words\n[a](docs/data.md) [b](docs/none.md) [c](docs/data.md#nothing-of-that-name)"
    text += " [d](#one-title-two-words) [e](#two-titles) [f](https://example.org/none.md)"
    assert dead_links(text, ROOT) == ["docs/none.md", "docs/data.md#nothing-of-that-name", "#two-titles"]


def test_dead_names_are_seen():
    text = (
        "`cli.py`, `no_such_file.py`, scripts/write_tables.py, `docs/none.png`, benchmarks/clips/*.npz, your clip.mp4,"
    )
    text += " `mixsynth_stream/cli.py`, `pipeline/none/`, `csrc/*.rs`, `out/demo` and https://example.org/docs/none.py"
    assert dead_names(text, ROOT) == ["no_such_file.py", "docs/none.png", "pipeline/none", "csrc/*.rs"]
    assert dead_names("<!-- to come -->\n`pipeline/none.py`\n<!-- end -->\n", ROOT) == []
    assert dead_names("results.md, `nothing.md`", ROOT / "docs") == ["nothing.md"]
    text = "    from mixsynth_stream import Stream, Torrent\n`mixsynth_stream.weights.load_model(name)`"
    text += " and `mixsynth_stream.weights.none`, `mixsynth_stream.none.load_model`"
    dead = ["Torrent", "weights.none", "none.load_model"]
    assert dead_python(text) == [f"mixsynth_stream.{name}" for name in dead]


def test_wrong_commands_are_seen(capsys):
    text = "    mixsynth-stream run clip.mp4 --out a  # a comment\n    python -m mixsynth_stream run --lags 1 a.mp4\n"
    text += (
        "`bench push --rounds 5`, `bench push --laps 5`, `evaluate`, `train --kernels`, `mixsynth-stream run --out a`"
    )
    wrong = [line.partition(":")[0] for line in wrong_commands(text, capsys)]
    assert wrong == ["run --lags 1 a.mp4", "run --out a", "bench push --laps 5"]
    assert dead_targets("`make demo`, `make nothing`, make sure\n\n    make CXX=g++ core\n    make none\n") == [
        "none",
        "nothing",
    ]


def test_tables_without_a_command_are_seen():
    table = "| | now |\n| --- | --- |\n| image | 0.5 |\n"
    words = "| | what |\n| --- | --- |\n| `a.csv` | a row a joint |\n"
    assert tables_of_figures(words + "\n" + table) == [4]
    assert tables_without_command("# Speed\n" + table) == ["| | now |"]
    assert tables_without_command("`bench push --rounds 9`\n# Another section\n" + table) == ["| | now |"]
    assert tables_without_command("# Speed\n    mixsynth-stream bench push\n\n" + table) == []
    assert tables_without_command("# Speed\n" + table + "\nPrinted by `bench push --rounds 9`.\n") == []
    assert tables_by_hand("# Speed\n" + table) == ["| | now |"]
    assert tables_by_hand("<!-- table push -->\n" + table) == []

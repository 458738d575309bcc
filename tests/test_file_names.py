"""Names of sources that people really have: not UTF-8, with line breaks, of other scripts, or like something else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
from support.beeps import clip
from support.command_line import run_apart

LATIN_1 = os.fsdecode(b"vid\xe9o.mp4")
# How messages show a name, and how the header of a file has it.
NAMES = {
    "12:30:15.mp4": ("12:30:15.mp4", "12:30:15.mp4"),
    LATIN_1: (r"vid\xe9o.mp4", r"vid\xe9o.mp4"),
    "new\nline\t\x1b[31m.mp4": (r"new\nline\t\x1b[31m.mp4", "new\nline\t\x1b[31m.mp4"),
    "ビデオ клип.mp4": ("ビデオ клип.mp4", "ビデオ клип.mp4"),
    "-dash %04d.mp4": ("-dash %04d.mp4", "-dash %04d.mp4"),
}


@pytest.fixture(scope="module")
def sounding(tmp_path_factory):
    return clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def source(request, tmp_path, sounding):
    """A clip of the name that a test asks for."""
    path = tmp_path / request.param
    path.write_bytes(sounding.read_bytes())
    return path


def texts_of(folder: Path) -> list[str]:
    """The sources that the headers name."""
    line = json.loads((folder / "poses.jsonl").read_text(encoding="utf-8").splitlines()[0])
    with np.load(folder / "poses.npz") as arrays:
        return [line["source"], json.loads(str(arrays["header"]))["source"]]


@pytest.mark.parametrize("source", NAMES, indirect=True, ids=ascii)
def test_every_result_takes_every_name(source, tmp_path):
    out = tmp_path / "out"
    formats = ["--format", "jsonl,csv,npz,trc", "--overlay", "--plot"]
    result = run_apart("run", "--out", str(out), *formats, "--", str(source))
    message, text = NAMES[source.name]
    assert result.returncode == 0, result.stderr
    assert all(f"{tmp_path}/{message}" in line or "frames/s" in line for line in result.stderr.splitlines())
    assert texts_of(out) == [f"{tmp_path}/{text}"] * 2
    assert {path.name for path in out.iterdir()} == {"poses.jsonl", "poses.csv", "poses.npz", "overlay.mp4", "plot.png"}
    with av.open(str(out / "overlay.mp4")) as container:
        assert container.streams.audio


@pytest.mark.parametrize("source", ["12:30:15.mp4", "-dash %04d.mp4"], indirect=True)
def test_a_name_can_be_given_without_its_folder(source, tmp_path, monkeypatch):
    """What stands before a colon could then be a protocol, and what begins with a dash an option."""
    monkeypatch.chdir(tmp_path)
    lines = run_apart("run", "--", source.name)
    assert lines.returncode == 0, lines.stderr
    assert json.loads(lines.stdout.splitlines()[0])["source"] == NAMES[source.name][1]
    result = run_apart("run", "--out", "out", "--overlay", "--quiet", "--", source.name)
    assert (result.returncode, result.stderr) == (0, "")
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as container:
        assert container.streams.audio


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_error_shows_the_name_in_its_one_sentence(name, tmp_path):
    result = run_apart("run", "--out", str(tmp_path / "out"), "--", str(tmp_path / name))
    assert result.returncode == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith("mixsynth-stream: ") and NAMES[name][0] in line
    assert not list(tmp_path.iterdir())


def test_folders_of_several_sources_have_every_name(tmp_path, sounding):
    sources = [tmp_path / name for name in NAMES]
    for source in sources:
        source.write_bytes(sounding.read_bytes())
    result = run_apart("run", "--out", str(tmp_path / "out"), "--", *map(str, sources))
    assert result.returncode == 0, result.stderr
    folders = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert {os.fsencode(folder.name) for folder in folders} == {os.fsencode(Path(name).stem) for name in NAMES}
    assert all([path.name for path in folder.iterdir()] == ["poses.jsonl"] for folder in folders)
    again = run_apart("run", "--out", str(tmp_path / "out"), "--", *map(str, sources))
    assert again.returncode == 0 and f"{len(NAMES)} of {len(NAMES)} sources are complete" in again.stderr, again.stderr


@pytest.mark.parametrize("name", [LATIN_1, "a\nb"], ids=ascii)
def test_a_folder_of_results_has_every_name(tmp_path, name):
    result = run_apart("run", "synthetic:seconds=1", "--out", str(tmp_path / name), "--format", "csv,npz,trc", "--plot")
    assert result.returncode == 0, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert len(list((tmp_path / name).iterdir())) == 5

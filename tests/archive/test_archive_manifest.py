"""The manifest: one line a source, whole at any time, whatever ends the run, and of one run only."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from mixsynth_stream.archive.entry import DONE, FAILED, Entry, ResultFile
from mixsynth_stream.archive.manifest import Manifest, read_manifest
from mixsynth_stream.errors import OutputError

FILE = ResultFile(name="a/poses.jsonl", bytes=3, sha256="0" * 64, modified_ns=1)
A = Entry(source="a.mp4", state=DONE, folder="a", files=(FILE,), frames=3, seconds={"total": 0.5})
B = Entry(source="ß\n.mp4", state=FAILED, reason="it broke", cause="source")


def test_lines_can_be_read_while_the_run_goes_on_and_are_one_a_source_after_it(tmp_path):
    path = tmp_path / "out" / "manifest.jsonl"
    with Manifest(tmp_path / "out") as manifest:
        manifest.append(B)
        manifest.append(A)
        assert read_manifest(path) == [B, A]
        better = Entry(source=B.source, state=DONE)
        manifest.append(better)
        assert read_manifest(path) == [better, A]
        assert path.read_bytes().count(b"\n") == 3
    assert path.read_bytes() == better.line() + A.line()
    assert [file.name for file in path.parent.iterdir()] == ["manifest.jsonl"]


@pytest.mark.parametrize("kept", [1, 0])
def test_a_line_that_was_cut_off_is_left_out_and_said(tmp_path, caplog, kept):
    path = tmp_path / "manifest.jsonl"
    for length in (1, 9, 60, len(A.line()) - 1):
        path.write_bytes(B.line() * kept + A.line()[:length])
        with Manifest(tmp_path) as manifest:
            whole = length == len(A.line()) - 1  # but for its line break
            assert list(manifest.entries) == [B.source] * kept + [A.source] * whole
            manifest.append(A)
        assert read_manifest(path) == [B] * kept + [A]
    assert "was cut off" in caplog.text


@pytest.mark.parametrize("text", ["a,b\n1,2\n", '{"name": "x"}\n', "[]\n", '{"source": 1, "state": "done"}\n', "{"])
def test_a_file_of_somebody_else_is_refused_and_stays(tmp_path, text):
    path = tmp_path / "manifest.jsonl"
    path.write_text(text + "more")
    with pytest.raises(OutputError, match=r"line 1 of .*manifest\.jsonl is no line of a manifest.*move the file away"):
        Manifest(tmp_path).__enter__()
    assert path.read_text() == text + "more"


def test_the_second_of_two_runs_is_refused_and_shards_are_not(tmp_path):
    with Manifest(tmp_path) as manifest:
        with pytest.raises(OutputError, match=f"in use, another run .process {os.getpid()}.*another folder"):
            Manifest(tmp_path).__enter__()
        code = f"from mixsynth_stream.archive.manifest import *\nwith Manifest(Path({str(tmp_path)!r})): pass"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "OutputError" in other.stderr and "in use" in other.stderr
        with Manifest(tmp_path, (2, 3)) as shard:
            manifest.append(A)
            shard.append(B)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.2-of-3.jsonl", "manifest.jsonl"]
    with Manifest(tmp_path, (1, 3)) as third:
        assert third.entries == {A.source: A, B.source: B}, "each knows what the others have"
    assert not (tmp_path / "manifest.1-of-3.jsonl").exists()


def test_a_full_disk_takes_a_line_whole_or_not_at_all(tmp_path, monkeypatch):
    real = os.write

    def half(fd, data):
        if len(data) <= 40:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[:40])

    with Manifest(tmp_path) as manifest:
        manifest.append(A)
        monkeypatch.setattr("mixsynth_stream.archive.manifest.os.write", half)
        with pytest.raises(OutputError, match="the disk is full"):
            manifest.append(B)
        monkeypatch.undo()
        assert (tmp_path / "manifest.jsonl").read_bytes() == A.line()
        manifest.append(B)
    assert read_manifest(tmp_path / "manifest.jsonl") == [A, B]

"""Files in buckets, of which the one in memory stands for all: as sources, and as places of results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from support import clips

from mixsynth_stream import Stream
from mixsynth_stream.archive.limits import Limits
from mixsynth_stream.archive.manifest import read_manifest
from mixsynth_stream.archive.plan import plan_of
from mixsynth_stream.archive.upload import work_into
from mixsynth_stream.archive.work import Task, work
from mixsynth_stream.cli import main
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.job.fingerprint import source_state
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.patterns import expand
from mixsynth_stream.job.settings import settings_of

OPTIONS = JobOptions(progress=False)


@pytest.fixture
def bucket():
    """A store in memory with one clip, and afterwards with nothing."""
    store = fsspec.filesystem("memory")
    store.pipe("/clips/person.mp4", clips.PERSON.read_bytes())
    yield store
    store.rm("/", recursive=True)


def test_a_file_in_a_bucket_gives_the_poses_of_the_file(bucket):
    with Stream("memory://clips/person.mp4") as remote, Stream(str(clips.PERSON)) as local:
        for one, other in zip(remote, local, strict=True):
            np.testing.assert_array_equal(one.poses, other.poses)
            assert (one.time_s, one.keyframe) == (other.time_s, other.keyframe)


def test_a_pattern_in_a_bucket_names_its_files(bucket):
    bucket.pipe("/clips/person10.mp4", b"x")
    bucket.pipe("/clips/person9.mp4", b"x")
    names = [name.rpartition("/")[2] for name in expand(["memory://clips/*.mp4"])]
    assert names == ["person9.mp4", "person10.mp4", "person.mp4"]
    with pytest.raises(SourceError, match=r"no file matches memory://clips/\*.avi: check the pattern and the bucket"):
        expand(["memory://clips/*.avi"])


def test_a_source_in_a_bucket_has_a_state(bucket):
    before = source_state("memory://clips/person.mp4")
    assert before is not None and before["bytes"] == clips.PERSON.stat().st_size
    bucket.pipe("/clips/person.mp4", clips.PERSON.read_bytes())
    assert source_state("memory://clips/person.mp4") != before
    assert source_state("memory://clips/none.mp4") is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("memory://clips/none.mp4", "there is no file memory://clips/none.mp4: check the path"),
        ("memory://clips/text.mp4", "is not a video"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(bucket, source, words):
    bucket.pipe("/clips/text.mp4", b"no video at all, only words\n" * 99)
    with pytest.raises(SourceError, match=words):
        Stream(source)


def test_a_store_whose_package_is_missing_is_no_fault_of_the_source(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ModelError, match=r"s3:// needs a package that is not installed .*mixsynth-stream\[ray\]"):
        Stream("s3://bucket/clip.mp4")


@pytest.mark.parametrize("source", ["s3://bucket/clip.mp4", "gs://bucket/*.mp4"])
@pytest.mark.parametrize("others", [[], [str(clips.PERSON)]], ids=["alone", "beside a file"])
def test_a_run_without_fsspec_names_the_extra(source, others, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert main(["run", source, *others, "--out", str(tmp_path), "--quiet"]) == 4
    error = capsys.readouterr().err
    assert f"{source[:2]}:// needs a package that is not installed" in error
    assert "pip install 'mixsynth-stream[ray]', which has fsspec" in error


def test_a_later_run_without_fsspec_names_the_extra(bucket, tmp_path, monkeypatch, capsys):
    command = ["run", "memory://clips/person.mp4", "--resume", "--out", str(tmp_path), "--quiet"]
    assert main(command) == 0
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert main(command) == 4
    assert "memory:// needs a package that is not installed" in capsys.readouterr().err


def test_results_go_into_a_bucket_and_are_known_there(bucket, tmp_path):
    settings = settings_of(OPTIONS)
    task = Task(source="synthetic:seconds=1", folder=tmp_path / "one", out=tmp_path, options=OPTIONS, settings=settings)
    outcome = work_into("memory://poses", task, work)
    work(task)
    (file,) = outcome.entry.files
    assert (file.name, outcome.entry.state) == ("memory://poses/one/poses.jsonl", "done")
    assert bucket.cat("/poses/one/poses.jsonl") == (tmp_path / "one" / "poses.jsonl").read_bytes()
    assert "results in memory://poses/one" in outcome.summary

    def tasks(results: str | None) -> int:
        known = {"entries": {task.source: outcome.entry}, "limits": Limits()}
        return len(plan_of([task.source], tmp_path, OPTIONS, settings, results=results, **known).tasks)

    assert (tasks("memory://poses"), tasks("memory://elsewhere"), tasks(None)) == (0, 1, 1)
    bucket.rm("/poses/one/poses.jsonl")
    assert tasks("memory://poses") == 1


def test_a_bucket_that_takes_nothing_is_named(bucket, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("AccessDenied")

    monkeypatch.setattr(type(bucket), "put_file", refuse)
    task = Task(source="synthetic:seconds=1", folder=tmp_path / "one", out=tmp_path, options=OPTIONS)
    entry = work_into("memory://poses", task, work).entry
    assert (entry.state, entry.cause, entry.files) == ("failed", "output", ())
    assert entry.reason.startswith("memory://poses/one cannot be written: RuntimeError: AccessDenied")


def test_results_for_a_bucket_without_fsspec_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    task = Task(source="synthetic:seconds=1", folder=tmp_path / "one", out=tmp_path, options=OPTIONS)
    entry = work_into("s3://bucket/poses", task, work).entry
    assert (entry.state, entry.cause, entry.files) == ("failed", "model", ())
    assert entry.reason.startswith("s3:// needs a package that is not installed")


def test_a_run_reads_and_names_buckets(bucket, tmp_path, capsys):
    assert main(["run", "memory://clips/*.mp4", "--resume", "--out", str(tmp_path), "--quiet"]) == 0
    (entry,) = read_manifest(tmp_path / "manifest.jsonl")
    assert entry.state == "done" and entry.source.endswith("clips/person.mp4") and entry.source_state is not None
    header = json.loads(Path(tmp_path, "person", "poses.jsonl").read_text().splitlines()[0])
    assert header["source"] == entry.source
    with pytest.raises(SystemExit, match="2"):
        main(["run", "a.mp4", "--engine", "ray", "--out", str(tmp_path), "--results-to", "results"])
    assert "expected a URL with one of abfs, " in capsys.readouterr().err
    assert main(["run", "a.mp4", "--out", str(tmp_path), "--results-to", "s3://b/poses"]) == 2
    assert "--results-to is for --engine ray" in capsys.readouterr().err

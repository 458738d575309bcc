"""Archives by a real Ray on this machine, with two cores: started once, because that takes seconds."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import clips
from support.workers import children_of, reader_of, wait_until

from mixsynth_stream.archive.entry import Entry
from mixsynth_stream.archive.limits import Limits
from mixsynth_stream.archive.manifest import read_manifest
from mixsynth_stream.archive.ray.cluster import Share, connected
from mixsynth_stream.archive.ray.engine import RayEngine
from mixsynth_stream.archive.run import run_archive
from mixsynth_stream.files import file_sha256
from mixsynth_stream.job.options import JobOptions

OPTIONS = JobOptions(progress=False)
QUICK = ["synthetic:seconds=1", "synthetic:seconds=1&people=2"]
ENDLESS = "synthetic:seconds=0"


@pytest.fixture(scope="module")
def raylet() -> Iterator[int]:
    """A Ray that this process is connected to: the process that starts its workers."""
    before = children_of(os.getpid())
    left = Path(tempfile.mkdtemp(prefix="mixsynth-ray-"))
    os.utime(left, (0, 0))
    with connected(None, Share(), 2):
        assert not left.exists(), "the folder of a run that was killed"
        children = set(children_of(os.getpid())) - set(before)
        names = {child: Path(f"/proc/{child}/comm").read_text().strip() for child in children}
        assert set(names.values()) <= {"gcs_server", "raylet"}, "nothing reports, and nothing serves a page"
        yield next(child for child, name in names.items() if name == "raylet")


def run(out: Path, *sources: object, limits: Limits = Limits()) -> list[Entry]:  # noqa: B008  it is frozen
    """The lines of the manifest, in their order."""
    run_archive(list(map(str, sources)), out, OPTIONS, engine=RayEngine(jobs=2), limits=limits, is_quiet=True)
    return read_manifest(out / "manifest.jsonl")


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob("*/*")}


def test_results_are_the_bytes_of_one_process(raylet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names that start from here have to be those of the workers
    Path("person.mp4").write_bytes(clips.PERSON.read_bytes())
    sources = [*QUICK, "person.mp4", "none.mp4"]
    entries = {entry.source: entry for entry in run(tmp_path / "ray", *sources)}
    run_archive(sources, tmp_path / "one", OPTIONS, is_quiet=True)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")
    assert [entries[source].state for source in sources] == ["done"] * 3 + ["failed"]
    alone = {entry.source: entry for entry in read_manifest(tmp_path / "one" / "manifest.jsonl")}
    for source in sources:
        entry, other = entries[source], alone[source]
        assert (entry.frames, entry.people, entry.settings) == (other.frames, other.people, other.settings)
        assert [file.sha256 for file in entry.files] == [file.sha256 for file in other.files]
        assert (entry.reason, entry.cause) == (other.reason, other.cause)


def test_sources_and_results_in_a_store(raylet, tmp_path):
    clip = f"file://{clips.PERSON}"
    engine = RayEngine(jobs=2, results=f"file://{tmp_path}/bucket")
    run_archive([clip], tmp_path / "out", OPTIONS, engine=engine, is_quiet=True)
    (entry,) = read_manifest(tmp_path / "out" / "manifest.jsonl")
    (file,) = entry.files
    assert file.name == f"file://{tmp_path}/bucket/{clips.PERSON.stem}/poses.jsonl"
    assert file_sha256(Path(file.name.removeprefix("file://"))) == file.sha256
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"]
    later = run_archive([clip], tmp_path / "out", OPTIONS, engine=engine, is_quiet=True)
    assert (len(later.plan.complete), later.entries) == (1, [])


def test_a_killed_worker_costs_nothing(raylet, tmp_path):
    """The source waits for data until its first reader has been killed."""
    pipe = tmp_path / "person.mp4"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)

    def kill_and_feed() -> None:
        first = reader_of(pipe, raylet)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: first not in children_of(raylet), "the worker has ended")
        reader_of(pipe, raylet)
        with os.fdopen(writer, "wb") as file:
            file.write(clips.PERSON.read_bytes())

    killer = threading.Thread(target=kill_and_feed)
    killer.start()
    entries = run(tmp_path / "out", pipe, *QUICK)
    killer.join()
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == len(entries) == 3
    assert {entry.source: (entry.state, entry.attempts) for entry in entries} == {
        str(pipe): ("done", 2),
        QUICK[0]: ("done", 1),
        QUICK[1]: ("done", 1),
    }
    assert next(entry for entry in entries if entry.source == str(pipe)).frames == 50


def test_a_worker_that_is_told_to_end_costs_an_attempt(raylet, tmp_path):
    """As where a machine is drained. It is not the user who has ended the run."""
    source = "synthetic:seconds=30"
    part = tmp_path / source / "poses.jsonl.part"
    drain = threading.Thread(target=lambda: os.kill(reader_of(part, raylet), signal.SIGTERM))
    drain.start()
    (entry,) = run(tmp_path, source)
    drain.join()
    assert (entry.state, entry.attempts, entry.frames) == ("done", 2, 900)


def test_what_takes_too_long_or_hangs_is_named(raylet, tmp_path):
    """Of the two one hears a signal, and the other one waits for data in native code, deaf to it."""
    pipe = tmp_path / "hangs.mp4"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    entries = run(tmp_path, ENDLESS, pipe, limits=Limits(timeout_s=1))
    os.close(writer)
    assert {entry.source for entry in entries} == {ENDLESS, str(pipe)}
    for entry in entries:
        assert (entry.state, entry.cause, entry.set_aside, entry.attempts) == ("failed", "timeout", True, 2)
        assert "longer than 1 s" in entry.reason


def test_an_interrupted_run_completes_files_and_leaves_ray_free(raylet, tmp_path):
    other = "synthetic:seconds=0&people=2"
    parts = [tmp_path / source / "poses.jsonl.part" for source in (ENDLESS, other)]

    def interrupt() -> None:
        wait_until(lambda: all(part.exists() and part.stat().st_size > 10_000 for part in parts), "both are in work")
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=interrupt)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ENDLESS, other, "synthetic:seconds=0&people=1")
    stopper.join()
    entries = read_manifest(tmp_path / "manifest.jsonl")
    assert {entry.source: entry.cause for entry in entries} == {ENDLESS: "interrupted", other: "interrupted"}
    assert all(part.with_suffix("").read_text().endswith("}\n") for part in parts)
    assert [entry.state for entry in run(tmp_path / "later", QUICK[0])] == ["done"]

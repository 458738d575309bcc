"""The plan of an archive: each file once, in a folder that it keeps, and only what is not complete."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.file_server import serve

from mixsynth_stream.archive.entry import DONE, FAILED, SKIPPED, Entry, ResultFile
from mixsynth_stream.archive.limits import Limits
from mixsynth_stream.archive.plan import plan_of, shard_of
from mixsynth_stream.archive.work import name_of
from mixsynth_stream.files import file_sha256
from mixsynth_stream.job.fingerprint import source_state
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.settings import settings_of

OPTIONS = JobOptions(progress=False)
SETTINGS = settings_of(OPTIONS)


def video(path: Path, content: bytes = b"v" * 3_000_000) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def done(source: str, out: Path, folder: str, **changes: object) -> dict[str, Entry]:
    """The entry of a source that is complete, with a result on the disk."""
    result = out / folder / "poses.jsonl"
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text("results")
    name, status = f"{folder}/poses.jsonl", result.stat()
    file = ResultFile(name=name, bytes=status.st_size, sha256=file_sha256(result), modified_ns=status.st_mtime_ns)
    state = {"state": DONE, "folder": folder, "files": (file,), "source_state": source_state(source)}
    return {name_of(source): Entry(source=name_of(source), **{**state, "settings": SETTINGS, **changes})}


def planned(sources, out, entries=None, **more):
    more = {"entries": entries or {}, "limits": Limits(), **more}
    return plan_of(sources, out, OPTIONS, more.pop("settings", SETTINGS), **more)


def folders_of(plan):
    return {Path(task.source).parent.name: task.folder.name for task in plan.tasks}


def test_a_file_under_several_names_is_taken_once(tmp_path, monkeypatch):
    source = video(tmp_path / "a.mp4")
    os.link(source, tmp_path / "b.mp4")
    (tmp_path / "c.mp4").symlink_to(source)
    monkeypatch.chdir(tmp_path)
    sources = [source, source, str(tmp_path / "b.mp4"), "./c.mp4", "synthetic:seconds=1", "synthetic:seconds=1"]
    plan = planned(sources, tmp_path / "out")
    assert [task.source for task in plan.tasks] == [source, "synthetic:seconds=1"]
    assert [(entry.source, entry.state) for entry in plan.doubles] == [
        (str(tmp_path / "b.mp4"), SKIPPED),
        ("./c.mp4", SKIPPED),
    ]
    assert all(source in entry.reason for entry in plan.doubles)


def test_an_earlier_run_may_have_had_another_name_of_the_file(tmp_path, monkeypatch):
    video(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    plan = planned([str(tmp_path / "a.mp4")], tmp_path / "out", done("a.mp4", tmp_path / "out", "a"))
    assert not plan.tasks and not plan.doubles and [entry.source for entry in plan.complete] == ["a.mp4"]


def test_results_keep_their_folder_whatever_is_added_or_taken_away(tmp_path):
    out = tmp_path / "out"
    old, new = video(tmp_path / "2" / "clip.mp4"), video(tmp_path / "1" / "clip.mp4")
    entries = done(old, out, "clip")
    assert folders_of(planned([new, old], out, entries, again=True)) == {"1": "clip-2", "2": "clip"}
    assert folders_of(planned([new], out, entries)) == {"1": "clip-2"}, "the results of another file stay"
    strange = {old: replace(entries[old], folder="../elsewhere")}
    assert folders_of(planned([old], out, strange, again=True)) == {"2": "clip"}, "no folder outside"


def test_folders_differ_on_disks_that_take_capitals_and_accents_for_the_same(tmp_path):
    sources = [str(tmp_path / n / name) for n, name in (("1", "Ä.mp4"), ("2", "ä.mp4"), ("3", "A\u0308.mp4"))]
    names = folders_of(planned(sources, tmp_path)).values()
    assert list(names) == ["Ä", "ä-2", "A\u0308-3"]


def test_shards_share_all_sources_and_do_not_move_when_others_come(tmp_path):
    sources = [f"archive/{number}/clip.mp4" for number in range(60)]
    shards = [planned(sources, tmp_path, shard=(number, 4)) for number in (1, 2, 3, 4)]
    parts = [[task.source for task in plan.tasks] for plan in shards]
    assert sorted(source for part in parts for source in part) == sorted(sources)
    assert all(8 < len(part) < 24 for part in parts)
    assert len({task.folder for plan in shards for task in plan.tasks}) == 60
    assert [shard_of(source, 4) for source in parts[2]] == [3] * len(parts[2])
    more = ["archive/new.mp4", *sources]
    again = [task.source for task in planned(more, tmp_path, shard=(3, 4)).tasks]
    assert [source for source in again if source in sources] == parts[2]


@pytest.mark.parametrize("change", ["nothing", "touched", "copied back"])
def test_complete_results_are_left_alone(tmp_path, change):
    source, out = video(tmp_path / "a.mp4"), tmp_path / "out"
    entries = done(source, out, "a")
    if change == "touched":
        os.utime(out / "a" / "poses.jsonl")
    if change == "copied back":
        (out / "a" / "poses.jsonl").write_text("results")
    plan = planned([source], out, entries)
    assert not plan.tasks and len(plan.complete) == 1 and plan.sources == 1
    assert len(planned([source], out, entries, again=True).tasks) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("other beginning", "another source"),
        ("other end", "another source"),
        ("longer", "another source"),
        ("later", "another source"),
        ("result gone", "gone or changed"),
        ("result changed", "gone or changed"),
        ("no results", "gone or changed"),
        ("settings", "another every, another cuts"),
        ("version", "another version"),
        ("weights", "other weights"),
    ],
)
def test_what_is_not_as_it_was_is_made_anew_and_says_why(tmp_path, change, reason):
    source, out = video(tmp_path / "a.mp4"), tmp_path / "out"
    entries, settings = done(source, out, "a"), dict(SETTINGS)
    status = os.stat(source)
    with open(source, "r+b") as file:
        if change in ("other beginning", "other end"):
            file.seek(-1 if change == "other end" else 0, 2 if change == "other end" else 0)
            file.write(b"x")
        if change == "longer":
            file.seek(0, 2)
            file.write(b"v")
    os.utime(source, ns=(0, status.st_mtime_ns + (change == "later")))
    if change == "result gone":
        (out / "a" / "poses.jsonl").unlink()
    if change == "result changed":
        (out / "a" / "poses.jsonl").write_text("resulta")
    if change == "no results":
        entries = done(source, out, "a", files=())
    settings |= {"settings": {"every": 5, "cuts": False}, "version": {"made_by": "mixsynth-stream 0.0"}}.get(change, {})
    settings |= {"sha256": {}} if change == "weights" else {}
    plan = planned([source], out, entries, settings=settings)
    assert len(plan.tasks) == 1 and not plan.complete
    assert reason in next(iter(plan.anew)), plan.anew


def test_a_name_says_which_settings_count():
    assert settings_of(JobOptions(view="web", progress=False, metrics_at="1")) == SETTINGS
    assert settings_of(JobOptions(max_people=2)) != SETTINGS
    assert settings_of(JobOptions(every=5))["sha256"] != SETTINGS["sha256"]


def test_partial_results_are_made_anew_and_what_was_set_aside_is_left_alone(tmp_path):
    source, out = video(tmp_path / "a.mp4"), tmp_path / "out"
    failed = done(source, out, "a", state=FAILED, cause="interrupted")
    assert len(planned([source], out, failed).tasks) == 1
    aside = done(source, out, "a", state=FAILED, cause="timeout", set_aside=True, limit=10.0)
    strict, same, more, none = (Limits(timeout_s=limit) for limit in (5.0, 10.0, 20.0, None))
    assert [len(planned([source], out, aside, limits=limits).aside) for limits in (strict, same, more, none)] == [
        1,
        1,
        0,
        0,
    ]
    crashed = done(source, out, "a", state=FAILED, cause="crash", set_aside=True)
    assert len(planned([source], out, crashed).aside) == 1
    assert len(planned([source], out, crashed, again=True).tasks) == 1
    assert len(planned([source], out, crashed, settings=SETTINGS | {"every": 5}).tasks) == 1


def test_a_folder_of_pictures_is_one_source_with_a_state(tmp_path):
    for number in range(3):
        video(tmp_path / "clip" / f"{number}.png", b"png")
    pattern = str(tmp_path / "clip" / "*.png")
    before = source_state(pattern)
    assert before == source_state(pattern) and before["bytes"] == 9
    video(tmp_path / "clip" / "1.png", b"pnG")
    assert source_state(pattern) != before
    os.mkfifo(tmp_path / "pipe.mp4")
    assert [source_state(name) for name in (str(tmp_path / "pipe.mp4"), "-", "missing.mp4")] == [None] * 3


def test_a_web_server_tells_whether_a_file_has_changed(tmp_path):
    video(tmp_path / "files" / "a.mp4")
    with serve(tmp_path / "files") as address:
        source, out = f"{address}/a.mp4", tmp_path / "out"
        entries = done(source, out, "a", source_state=source_state(source, asks=True))
        assert entries[source].source_state["bytes"] == 3_000_000
        assert len(planned([source], out, entries).complete) == 1
        video(tmp_path / "files" / "a.mp4", b"v" * 3_000_001)
        assert list(planned([source], out, entries).anew) == ["another source of that name"]
        assert source_state(f"{address}/missing.mp4", asks=True) is None and source_state(source) is None
    assert list(planned([source], out, entries).anew) == ["another source of that name"]
    unknown = done(source, out, "a", source_state=None)
    assert list(planned([source], out, unknown).anew) == ["a source that may have changed"]

"""A recorded stream is replayed bit for bit: what it took, what it dropped, what its estimator said and when."""

from __future__ import annotations

import inspect
import itertools
import json
import logging
import random
import time
from pathlib import Path
from typing import Any

import pytest
from support.recordings import Irregular, bits, camera, recorded, replay

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.glance.glance import Glance
from mixsynth_stream.pipeline.sources.recording.lines import line_of, records
from mixsynth_stream.pipeline.stream import Stream


def record(address: str, folder: Path, frames: int, **options: Any) -> tuple[Stream, list[Any], list[SourceEvent]]:
    """A stream whose reader is slow at times, with all that came of it. It is left in the middle."""
    slow, motions, events = random.Random(2), [], []
    with Stream(recorded(address, folder), estimator=Irregular(), **options) as stream:
        stream.on_event = events.append
        for motion in stream:
            motions.append(bits(motion))
            if stream.stats.frames >= frames:
                break
            time.sleep(0.3 if slow.random() < 0.04 else 0.0)
        motions += [bits(motion) for motion in stream.close()]
    return stream, motions, events


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stream, list[Any], list[SourceEvent]]:
    """In which glances take too long, by a clock that leaps, and end after two seconds."""
    folder, clock = tmp_path_factory.mktemp("camera"), itertools.count()
    with camera(folder) as address, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Glance, "_clock_s", lambda _: next(clock))
        return folder / "recording", *record(address, folder / "recording", 75, pictures=False)


def test_a_replay_gives_what_the_stream_gave(recording: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder, stream, motions, events = recording
    assert {event.kind for event in events} == {"lost", "back", "size"}
    assert stream.stats.counters["estimator_failed"] and stream.stats.counters["dropped_consumer_behind"]
    again, same_motions, same_events = replay(folder)
    assert same_events == events
    assert same_motions == motions
    assert (again.stats.counters, again.stats.keyframes) == (stream.stats.counters, stream.stats.keyframes)
    assert str(again.stats.ledger) == str(stream.stats.ledger)
    assert str(again.score) == str(stream.score)
    assert not [line for line in caplog.messages if "differ" in line]


def test_the_end_of_glances_is_kept(recording: Any) -> None:
    lines = records(recording[0] / "journal.jsonl")
    assert [kind for line in lines for kind, _ in line.get("answers", [])].count("glance") == 1


def test_every_argument_of_a_stream_is_kept(recording: Any) -> None:
    """The estimator is replaced by its answers, and models have a place of their own."""
    kept = json.loads((recording[0] / "recording.json").read_text())["stream"]
    arguments = set(inspect.signature(Stream).parameters)
    assert set(kept) == arguments - {"source", "estimator", "eye", "models", "record"}


def test_a_replay_shows_pictures_that_nobody_read(recording: Any) -> None:
    """The recording was made without anybody who reads pictures, and whoever replays it may want to see them."""
    sizes: dict[int, tuple[int, ...]] = {}
    with Stream.replay(recording[0]) as stream:
        for motion in stream:
            if motion.final and motion.index not in sizes and motion.frame is not None:
                sizes[motion.index] = motion.frame.rgb.shape
    assert set(sizes.values()) == {(240, 320, 3), (320, 240, 3)}


def test_a_replay_at_its_own_pace_takes_as_long(recording: Any, tmp_path: Path) -> None:
    short, start_s = beginning(recording[0], tmp_path / "short", 20), time.perf_counter()
    with Stream.replay(short, is_paced=True) as stream:
        paced = [bits(motion) for motion in stream]
    elapsed_s = time.perf_counter() - start_s
    turns = [line["answers"] for line in records(short / "journal.jsonl") if "motions" in line]
    turns_s = [next(value for kind, value in answers if kind == "now") for answers in turns]
    assert elapsed_s > turns_s[-1] - turns_s[0] > 0.2
    assert paced == replay(short)[1]


def test_a_recording_that_was_cut_off_is_replayed_up_to_there(recording: Any, tmp_path: Path) -> None:
    folder, _, motions, _ = recording
    cut = copy(folder, tmp_path / "cut")
    journal = (cut / "journal.jsonl").read_bytes()
    (cut / "journal.jsonl").unlink()
    (cut / "journal.jsonl.part").write_bytes(journal[: len(journal) // 2])
    _, some, _ = replay(cut)
    provisional = [motion for motion in some if not motion[2]]
    assert len(provisional) > 10
    assert provisional == [motion for motion in motions if not motion[2]][: len(provisional)]


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("journal.jsonl", r"journal\.jsonl is damaged in line \d+, whose checksum does not fit: copy"),
        ("video-1.h264", r"video-1\.h264 is damaged before byte \d+: copy"),
    ],
)
def test_damage_ends_a_replay_with_a_sentence(recording: Any, tmp_path: Path, file: str, sentence: str) -> None:
    damaged = copy(recording[0], tmp_path / "damaged")
    data = bytearray((damaged / file).read_bytes())
    place = len(data) // 2
    data[place] ^= 1
    (damaged / file).write_bytes(data)
    with Stream.replay(damaged) as stream, pytest.raises(SourceError, match=sentence):
        list(stream)


def test_a_recording_of_another_version_is_refused(recording: Any, tmp_path: Path) -> None:
    old = copy(recording[0], tmp_path / "old")
    header = (old / "recording.json").read_text()
    (old / "recording.json").write_text(header.replace('"version": 2', '"version": 0', 1))
    with pytest.raises(SourceError, match="may give other poses: replay it with the version that made it"):
        Stream.replay(old)
    (old / "recording.json").write_text(header[: len(header) // 2])
    with pytest.raises(SourceError, match=r"recording\.json is damaged .*: copy the recording again"):
        Stream.replay(old)


def test_other_poses_than_the_recorded_ones_are_told(
    recording: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = beginning(recording[0], tmp_path / "other", 20)
    lines = list(records(other / "journal.jsonl"))
    turn = [line for line in lines if line.get("frame")][5]
    turn["motions"][1] ^= 1
    (other / "journal.jsonl").write_bytes(b"".join(map(line_of, lines)))
    with caplog.at_level(logging.WARNING):
        replay(other)
    assert [line for line in caplog.messages if f"with from frame {turn['frame'][0]} on" in line]


def beginning(folder: Path, to: Path, frames: int) -> Path:
    """A copy of a recording that ends after so many frames."""
    lines, count = [], 0
    for line in records(copy(folder, to) / "journal.jsonl"):
        lines.append(line)
        count += line.get("frame") is not None
        if count == frames:
            break
    (to / "journal.jsonl").write_bytes(b"".join(map(line_of, lines)))
    return to


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to

"""OSC over real sockets: what a program gets, whom it is about, and what a failure does to the stream."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from support.moving_stream import MovingStream
from support.osc_receiver import OscReceiver, off_deg, turns

from mixsynth_stream.cli import main
from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.send import osc
from mixsynth_stream.send.osc import FAILURES, OscSink
from mixsynth_stream.send.targets import Target

pytest.importorskip("pythonosc", reason="OSC needs python-osc: make dev")


def test_a_clip_moves_an_avatar_and_trackers(tmp_path: Path, capfd) -> None:
    with OscReceiver() as avatar, OscReceiver() as trackers:
        sends = ["--send", f"vmc://127.0.0.1:{avatar.port}", "--send", f"vrchat://localhost:{trackers.port}"]
        clip = str(ASSETS / "demo.mp4")
        assert main(["run", clip, "--limit-frames", "50", "--out", str(tmp_path), "--quiet", *sends]) == 0
    lines = [json.loads(line) for line in (tmp_path / "poses.jsonl").read_text().splitlines()[1:]]
    assert len(avatar.bundles) == len(trackers.bundles) == len(lines) == 50
    seen_bones, before = set(), None
    for line, bundle in zip(lines, avatar.bundles, strict=True):
        messages = dict(bundle[:3])
        assert messages["/VMC/Ext/OK"] == [1, 3, 0, 1]
        assert messages["/VMC/Ext/T"] == pytest.approx([line["time_s"]], abs=1e-4)
        assert messages["/VMC/Ext/Root/Pos"] == ["root", 0, 0, 0, 0, 0, 0, 1]
        person = line["people"][0]
        angles = off_deg(np.array(person["world_m"]), bundle, scores=np.array(person["scores"]))
        assert max(angles.values()) < 1.0, angles
        seen_bones |= set(angles)
        own = np.array(list(turns(bundle).values()))
        assert np.linalg.norm(own, axis=1) == pytest.approx(1.0, abs=1e-6)
        assert before is None or (own * before).sum(axis=1).min() > -1e-6, "no sign flips"
        before = own
    assert len(seen_bones) == 12
    for bundle in trackers.bundles:
        places = dict(bundle)
        assert "/tracking/trackers/1/position" in places
        assert all(len(values) == 3 and np.isfinite(values).all() for values in places.values())


def test_each_frame_is_sent_once_and_its_final_is_no_news() -> None:
    stream = MovingStream()
    with OscReceiver() as program, OscSink(Target.of(f"vmc://127.0.0.1:{program.port}")) as sink:
        for index in range(3):
            sink.write(stream.motion(index, index / 30))
        sink.write(stream.motion(1, 1 / 30, final=True))
    assert [round(dict(bundle[:2])["/VMC/Ext/T"][0] * 30) for bundle in program.bundles] == [0, 1, 2]


def test_where_nobody_is_an_avatar_is_told_so() -> None:
    stream = MovingStream()
    empty = stream.motion(0, 0.0)
    arrays = {name: values[:0] for name, values in empty.arrays().items()}
    with OscReceiver() as program, OscSink(Target.of(f"vmc://127.0.0.1:{program.port}")) as sink:
        sink.write(type(empty)(0, 0.0, False, False, empty.ids[:0], None, empty.frame, **arrays))
    assert program.bundles == [[("/VMC/Ext/OK", [1, 3, 0, 0]), ("/VMC/Ext/T", [0.0])]]


def test_where_nobody_listens_the_stream_goes_on() -> None:
    with OscReceiver() as program:
        port = program.port
    stats, stream = StreamStats(), MovingStream()
    with OscSink(Target.of(f"vmc://127.0.0.1:{port}")) as sink:
        sink.watch(stats)
        for index in range(5):
            sink.write(stream.motion(index, index / 30))
    assert stats.counters == {}


def test_what_cannot_be_sent_is_counted_and_said_once(caplog) -> None:
    stats, stream = StreamStats(), MovingStream()
    # No socket may send to a broadcast address unless it asks for that.
    with caplog.at_level(logging.WARNING), OscSink(Target.of("vmc://255.255.255.255")) as sink:
        sink.watch(stats)
        for index in range(5):
            sink.write(stream.motion(index, index / 30))
    assert stats.counters == {FAILURES: 5}
    assert len(caplog.messages) == 1
    assert "a pose cannot be sent to vmc://255.255.255.255:39539" in caplog.messages[0]


def test_without_the_library_its_name_is_told(monkeypatch) -> None:
    monkeypatch.setattr(osc, "osc_possible", lambda: False)
    with pytest.raises(ModelError, match=r"pip install 'mixsynth-stream\[osc\]'"):
        OscSink(Target.of("vmc://127.0.0.1"))

"""`run` and its options on sources: pictures as one clip, tracks, copies of what can be read once."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from support import clips

from mixsynth_stream.cli import main
from mixsynth_stream.files import ASSETS
from mixsynth_stream.pipeline.sources.capture import LiveReader

DEMO = str(ASSETS / "demo.mp4")


def times_of(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "poses.jsonl").read_text().splitlines()]
    return [line["time_s"] for line in lines if "index" in line]


@pytest.mark.parametrize("source", ["", "*.png", "img_%02d.png"])
def test_pictures_become_one_clip_with_the_rate_of_the_user(tmp_path, source):
    clips.make(tmp_path / "shots.mkv", frames=1)
    folder = tmp_path / "shots"
    folder.mkdir()
    clips.make(folder / "img_%02d.png", frames=12, codec="png", pix_fmt="rgb24")
    assert main(["run", str(folder / source), "--rate", "24", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    np.testing.assert_allclose(times_of(tmp_path / "out"), np.arange(12) / 24, atol=1e-6)
    video = str(tmp_path / "shots.mkv")
    assert main(["run", video, str(folder / source), "--out", str(tmp_path / "two"), "--quiet"]) == 0
    assert len(times_of(tmp_path / "two" / "shots")) == 1
    name = "img" if source.startswith("img") else "shots-2"
    np.testing.assert_allclose(times_of(tmp_path / "two" / name), np.arange(12) / 30, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "code", "parts"),
    [
        (["--rate", "24"], 2, ["--rate is for cameras, and for pictures"]),
        (["--size", "640x480"], 2, ["--size is for cameras"]),
        (["--mirror"], 2, ["--mirror is for cameras"]),
        (["--wait"], 2, ["--wait is for cameras"]),
        (["--track", "1"], 3, ["demo.mp4 has no video track 1", "0 ("]),
    ],
)
def test_options_that_do_not_fit_the_source(capsys, options, code, parts):
    assert main(["run", DEMO, *options]) == code
    message = capsys.readouterr().err
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "options",
    [
        ["--rate", "0"],
        ["--rate", "fast"],
        ["--size", "640"],
        ["--size", "0x4"],
        ["--track", "-1"],
        ["--track", "first"],
    ],
)
def test_options_that_mean_nothing(capsys, options):
    with pytest.raises(SystemExit) as end:
        main(["run", DEMO, *options])
    assert end.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_a_file_played_as_live_gives_each_frame_at_once_and_again(capsys):
    assert main(["run", DEMO, "--live", "--mirror", "--limit-frames", "12", "--quiet"]) == 0
    header, *lines = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert header["lag"] == 0
    assert {line["final"] for line in lines} == {True, False}


def test_what_happens_to_a_live_source_stands_between_its_frames(tmp_path, monkeypatch):
    cameras = iter([f"testsrc2=size={size}:rate=30:duration=2,realtime" for size in ("64x48", "128x96")])

    def opener():
        return av.open(next(cameras, "gone"), "r", format="lavfi")

    def reader(source, **_):
        # The command opens it, and hands it to the stream.
        return (
            source
            if isinstance(source, LiveReader)
            else LiveReader(source, opener=opener, pause_s=lambda n: 0.1, retries=1)
        )

    monkeypatch.setattr("mixsynth_stream.pipeline.sources.open.open_for_stream", reader)
    assert main(["run", "webcam", "--out", str(tmp_path / "out"), "--quiet"]) == 3  # there is no third one
    lines = [json.loads(line) for line in (tmp_path / "out" / "poses.jsonl").read_text().splitlines()]
    events = [(place, line) for place, line in enumerate(lines) if "event" in line]
    assert [line["event"] for _, line in events] == ["lost", "back", "size", "lost"]
    size_place, size = events[2]
    later = next(line for line in lines[size_place:] if "index" in line and line["index"] >= size["before_index"])
    assert (later["width"], later["height"]) == (128, 96)

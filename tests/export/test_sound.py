"""The sound of the overlay: copied whole and in time from a file of any name, and left out where MP4 cannot hold it."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.beeps import STARTS_S, beeps, clip, flashes
from support.clips import TRUEHD
from support.motions import motion

from mixsynth_stream.export.header import Header
from mixsynth_stream.export.overlay import OverlaySink


def overlay(source: Path, target: Path) -> Path:
    """The overlay of a clip with nobody in it, at times that always grow, as those of a reader do."""
    with av.open(f"file:{source}") as container:
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    header = Header(source=str(source), has_audio=True, live=False, rate_hz=30.0, time_base=Fraction(1, 90_000))
    with OverlaySink(target, header, legend=False) as sink:
        last_s = shift_s = 0.0
        for index, (time_s, rgb) in enumerate(frames):
            if index and time_s + shift_s <= last_s:
                shift_s = last_s + 1 / 30 - time_s
            last_s = time_s + shift_s
            sink.write(motion(index, time_s=last_s, people=(), rgb=rgb))
    return target


def packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(f"file:{path}") as container:
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(audio=0) if p.size and p.pts >= 0]


def has_sound(path: Path) -> bool:
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "aac"), ("clip.mkv", "libmp3lame"), ("clip.ts", "aac")])
def test_the_sound_is_copied_packet_by_packet(tmp_path, name, codec):
    source = clip(tmp_path / name, codec)
    before, after = packets(source), packets(overlay(source, tmp_path / "o.mp4"))
    assert len(after) >= len(before) - 3
    for (time_s, packet), (new_time_s, new_packet) in zip(before, after, strict=False):
        # In a broadcast stream each packet has seven bytes of parameters before it.
        assert packet[7 if name == "clip.ts" else 0 :] == new_packet
        assert new_time_s == pytest.approx(time_s, abs=2e-3)


@pytest.mark.parametrize(
    ("name", "codec", "timing"),
    [
        ("plain.mp4", "aac", {}),
        ("late.mp4", "aac", {"delay_s": 0.25}),  # the sound begins later: an edit list
        ("late.mkv", "flac", {"delay_s": 0.25}),
        ("offset.mkv", "libopus", {"start_s": 5.0}),
        ("broadcast.ts", "aac", {"start_s": 3600.0}),
        ("mpeg.ts", "mp2", {"start_s": 3.0}),
        ("pcm.mov", "pcm_s16le", {"delay_s": 0.25}),
    ],
)
def test_the_sound_stays_in_time(tmp_path, name, codec, timing):
    target = overlay(clip(tmp_path / name, codec, **timing), tmp_path / "o.mp4")
    lights, sounds = flashes(target), beeps(target)
    assert len(lights) == len(sounds) == len(STARTS_S)
    np.testing.assert_allclose(np.subtract(sounds, lights), timing.get("delay_s", 0.0), atol=0.012)


def test_the_sound_of_a_cut_by_an_edit_list_stays_in_time(tmp_path):
    """The first second is cut off without coding anew: it stays in the file, and players skip it."""
    ffmpeg = ["ffmpeg", "-loglevel", "error", "-ss", "1.2", "-i", str(clip(tmp_path / "whole.mp4")), "-c", "copy"]
    try:
        subprocess.run([*ffmpeg, str(tmp_path / "cut.mp4")], check=True)
    except FileNotFoundError:
        pytest.skip("the command ffmpeg, which cuts by an edit list, is not installed")
    target = overlay(tmp_path / "cut.mp4", tmp_path / "o.mp4")
    np.testing.assert_allclose([*flashes(target), *beeps(target)], [0.3, 0.3], atol=0.012)


def test_a_clock_that_starts_again_keeps_pictures_and_sound(tmp_path):
    """Two broadcasts in one file, as a recorder that lost its signal leaves them."""
    part = clip(tmp_path / "part.ts").read_bytes()
    source = tmp_path / "twice.ts"
    source.write_bytes(part + part)
    target = overlay(source, tmp_path / "o.mp4")
    lights, sounds = flashes(target), beeps(target)
    assert len(lights) == len(sounds) == 4
    np.testing.assert_allclose(sounds, lights, atol=0.06)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("slow.mkv", "libmp3lame", 8_000),  # a codec that MP4 holds, but not at this rate
        ("wavpack.mkv", "wavpack", 48_000),
        ("wma.asf", "wmav2", 44_100),
        ("adpcm.avi", "adpcm_ms", 22_050),
        ("bytes.avi", "pcm_u8", 48_000),
        ("telephone.mov", "pcm_alaw", 8_000),
    ],
)
def test_sound_that_mp4_cannot_hold_is_left_out_with_one_warning(tmp_path, caplog, name, codec, rate):
    target = overlay(clip(tmp_path / name, codec, rate=rate), tmp_path / "o.mp4")
    assert not has_sound(target)
    assert len(flashes(target)) == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert "is left out: an MP4 file cannot hold" in message and name in message


def test_truehd_is_left_out(tmp_path, caplog):
    """The sound of a film disk, which FFmpeg puts into an MP4 as an experiment only."""
    target = overlay(TRUEHD, tmp_path / "o.mp4")
    assert not has_sound(target)
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    assert [record.getMessage() for record in caplog.records] == [
        f"the sound of {TRUEHD} is left out: an MP4 file cannot hold truehd of 48000 Hz"
    ]


def test_a_sound_of_an_unknown_kind_is_left_out(tmp_path, caplog):
    source = clip(tmp_path / "clip.mkv")
    source.write_bytes(source.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    assert not has_sound(overlay(source, tmp_path / "o.mp4"))
    assert "FFmpeg does not know" in caplog.text


def test_damaged_packets_of_the_sound_are_left_out(tmp_path):
    """Their parameters are no parameters any more, which the filter for MP4 refuses."""
    source = clip(tmp_path / "clip.ts")
    data = source.read_bytes()
    places = [place for place in range(0, len(data), 188) if b"\xff\xf1" in data[place : place + 188]]
    for place in places[20:24]:
        data = data[:place] + data[place : place + 188].replace(b"\xff\xf1", b"\x00\x00") + data[place + 188 :]
    source.write_bytes(data)
    target = overlay(source, tmp_path / "o.mp4")
    assert len(flashes(target)) == 2
    assert len(packets(target)) > 70


@pytest.mark.parametrize(
    "name", ["12:30:15.mp4", "http:x.mp4", "concat:x.mp4", "%04d 100%.mp4", "-dash.mp4", "--", "a\nb\t.mp4", "x" * 255]
)
def test_a_file_of_any_name_keeps_its_sound(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "clip.mp4").rename(tmp_path / name)
    assert has_sound(overlay(Path(name), tmp_path / "o.mp4"))


def test_a_file_whose_name_is_not_utf8_keeps_its_sound(tmp_path):
    source = tmp_path / b"vid\xe9o.mp4".decode("utf-8", "surrogateescape")
    clip(tmp_path / "clip.mp4").rename(source)
    assert has_sound(overlay(source, tmp_path / "o.mp4"))


def test_standard_input_is_no_file_of_that_name(tmp_path, monkeypatch, caplog):
    """A source "-" is standard input, even where a file is called so."""
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "clip.mp4").rename(tmp_path / "-")
    header = Header(source="-", has_audio=True, live=False, rate_hz=30.0)
    with OverlaySink(tmp_path / "o.mp4", header) as sink:
        sink.write(motion(0, people=(), rgb=np.zeros((120, 160, 3), np.uint8)))
    assert not has_sound(tmp_path / "o.mp4")
    assert "the sound of - is left out: it can be read only once" in caplog.text

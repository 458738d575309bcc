"""Files that are cut off say so, wherever they are cut; files that only promise a longer duration are whole."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest
from support import clips
from support.file_server import serve

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.video import VideoReader

FRAMES = 40
KINDS: dict[str, dict[str, object]] = {
    "a.mp4": {"options": {"bf": "2"}},
    "a.mkv": {"options": {"bf": "2"}},
    "a.webm": {"codec": "libvpx"},
    "a.avi": {"codec": "mpeg4"},
}


def clip(path: Path, **more: object) -> Path:
    return clips.make(path, frames=FRAMES, size=(160, 120), **{**KINDS[path.name], **more})  # type: ignore[arg-type]


def read(path: Path | str) -> tuple[int, str]:
    """How many frames there are, and the sentence of the error after them, "" for a whole file."""
    count = 0
    with VideoReader(path) as reader:
        try:
            for _ in reader:
                count += 1
        except SourceError as error:
            return count, str(error)
    return count, ""


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_cut_says_so_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    path = clip(tmp_path / name)
    assert read(path) == (FRAMES, "")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.pos + packet.size) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    # In the middle of pictures, just behind them, and in what stands between them.
    places = [place for start, end in packets[8:-1:5] for place in ((start + end) // 2, end, end + 3)]
    for place in [*places, packets[-1][0] + 5]:
        path.write_bytes(data[:place])
        count, sentence = read(path)
        assert 1 <= count < FRAMES and f"is cut off after {count} frames" in sentence, f"{place} of {len(data)} bytes"


@pytest.mark.parametrize(("name", "codec"), [("a.wmv", "wmv2"), ("a.flv", "flv1")])
def test_other_formats_that_are_cut_say_so(tmp_path: Path, name: str, codec: str) -> None:
    path = clips.make(tmp_path / name, frames=FRAMES, size=(320, 240), codec=codec, options={"g": "1"})
    assert read(path) == (FRAMES, "")
    data = path.read_bytes()
    for share in (0.4, 0.61, 0.93):
        path.write_bytes(data[: int(len(data) * share)])
        count, sentence = read(path)
        assert 1 <= count < FRAMES and f"is cut off after {count} frames" in sentence, share


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi"])
def test_a_file_that_misses_only_its_index_is_whole(tmp_path: Path, name: str) -> None:
    path = clip(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-4])
    assert read(path) == (FRAMES, "")


PIPED = """
import sys, av
with av.open(sys.argv[1]) as source, av.open("pipe:1", "w", format=sys.argv[2]) as target:
    stream = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
        if packet.size:
            packet.stream = stream
            target.mux(packet)
"""


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi"])
def test_a_file_that_was_written_into_a_pipe_is_whole(tmp_path: Path, name: str) -> None:
    """Its muxer could not go back to write sizes and durations."""
    source = clip(tmp_path / name)
    path = tmp_path / f"piped_{name}"
    command = [sys.executable, "-c", PIPED, str(source), path.suffix[1:].replace("mkv", "matroska")]
    path.write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert read(path) == (FRAMES, "")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    count, sentence = read(path)
    assert 1 <= count < FRAMES and f"is cut off after {count} frames" in sentence


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
@pytest.mark.parametrize("name", KINDS)
def test_what_comes_through_a_pipe_is_whole_or_says_that_it_is_not(tmp_path: Path, name: str) -> None:
    data = clip(tmp_path / name).read_bytes()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for part, is_whole in ((data, True), (data[: len(data) * 2 // 3], False)):
        writer = threading.Thread(target=fifo.write_bytes, args=(part,))
        writer.start()
        count, sentence = read(fifo)
        writer.join()
        assert (count == FRAMES, sentence == "") == (is_whole, is_whole)


@pytest.mark.parametrize("name", KINDS)
def test_what_a_server_sends_is_whole_or_says_that_it_is_not(tmp_path: Path, name: str) -> None:
    path = clip(tmp_path / name)
    with serve(tmp_path) as address:
        assert read(f"{address}/{name}") == (FRAMES, "")
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        count, sentence = read(f"{address}/{name}")
        assert 1 <= count < FRAMES and f"is cut off after {count} frames" in sentence


@pytest.mark.parametrize("suffix", ["mkv", "mov", "mp4", "ts", "nut"])
def test_a_last_frame_that_is_held_is_no_missing_frame(tmp_path: Path, suffix: str) -> None:
    """The last picture of a slide or a screen recording lasts for seconds, and containers promise these."""
    source = clips.make(tmp_path / "source.mp4", frames=30, options={"bf": "0"})

    def held(number: int, packet: av.Packet) -> None:
        packet.duration = round(Fraction(2 if number == 29 else Fraction(1, 30)) / packet.time_base)

    path = clips.remuxed(tmp_path / f"held.{suffix}", source, held)
    assert read(path) == (30, "")
    again = clips.remuxed(tmp_path / "again.mkv", path, lambda number, packet: None)
    assert read(again) == (30, "")


def test_a_tag_that_promises_more_proves_nothing(tmp_path: Path) -> None:
    """It is the end of a held last frame, whose own duration older muxers do not store, or the tag of another file."""
    path = clip(tmp_path / "a.mkv")
    data = path.read_bytes()
    assert b"00:00:01.3" in data
    path.write_bytes(data.replace(b"00:00:01.3", b"00:59:01.3"))
    assert read(path) == (FRAMES, "")


def test_parts_of_mime_end_at_their_last_boundary(tmp_path: Path) -> None:
    """IP cameras send MJPEG so, and FFmpeg takes what follows the last boundary for a broken part."""
    source, path = clips.make(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=12), tmp_path / "a.mpjpeg"
    with av.open(str(source)) as whole, av.open(str(path), "w", format="mpjpeg") as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            packet.stream = stream
            container.mux([packet] if packet.size else [])
    assert read(path) == (12, "")
    path.write_bytes(path.read_bytes()[:-200])
    assert read(path)[0] >= 11


def test_a_header_of_avi_that_counts_too_many_pictures_is_not_believed(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.avi")
    data = bytearray(path.read_bytes())
    length = data.index(b"strh") + 8 + 32
    assert struct.unpack_from("<I", data, length) == (FRAMES,)
    struct.pack_into("<I", data, length, 3 * FRAMES)
    path.write_bytes(data)
    assert read(path) == (FRAMES, "")


def test_sound_that_goes_on_is_no_missing_picture(tmp_path: Path) -> None:
    source, path = clips.make(tmp_path / "source.mp4", frames=90, audio=True), tmp_path / "a.mkv"
    with av.open(str(source)) as whole, av.open(str(path), "w") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.size and not (packet.stream.type == "video" and packet.pts * packet.time_base >= 1):
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    assert read(path) == (30, "")


def test_an_edit_list_that_hides_pictures_cuts_nothing_off(tmp_path: Path) -> None:
    source = clips.make(tmp_path / "source.mp4", frames=60, options={"bf": "0", "g": "60"})

    def earlier(_: int, packet: av.Packet) -> None:
        ticks = round(1 / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks

    path = clips.remuxed(tmp_path / "a.mp4", source, earlier, avoid_negative_ts="disabled", movflags="faststart")
    with VideoReader(path) as reader:
        assert reader.info.frame_count == 30, "the progress line counts the frames that are shown"
        assert len(list(reader)) == 30
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    count, sentence = read(path)
    assert 1 <= count < 30 and "is cut off" in sentence

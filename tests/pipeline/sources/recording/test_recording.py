"""Recordings on the disk: raw pictures come back as they were, a full disk ends them, the stream goes on."""

from __future__ import annotations

import json
import logging
import resource
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from support import clips

from mixsynth_stream.errors import OutputError
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.recording.codec import decoder_of, parameters_of
from mixsynth_stream.pipeline.sources.recording.lines import line_of, records
from mixsynth_stream.pipeline.sources.recording.raw import RawDecoder, coder_for
from mixsynth_stream.pipeline.sources.recording.start_codes import with_lengths, with_start_codes
from mixsynth_stream.pipeline.sources.recording.store import Store
from mixsynth_stream.pipeline.stream import Stream

PACED = LiveRequest(is_paced=True)


class Nobody:
    skeleton = "BlazePose-33"

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[object]:
        return []


def raw_packet(kind: str, size: tuple[int, int], seed: int) -> tuple[dict[str, object], bytes]:
    """The parameters of a camera without a codec, and a picture of noise."""
    context = cast(av.VideoCodecContext, av.CodecContext.create("rawvideo", "w"))
    (context.width, context.height), context.pix_fmt, context.time_base = size, kind, Fraction(1, 30)
    picture = av.VideoFrame(*size, kind)
    for plane in picture.planes:
        plane.update(np.random.default_rng(seed).integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    return parameters_of(context), bytes(context.encode(picture)[0])


@pytest.mark.parametrize("kind", ["yuyv422", "uyvy422", "yvyu422", "nv12", "yuv420p", "bgr24", "gray"])
def test_raw_pictures_come_back_bit_for_bit(kind: str) -> None:
    parameters, first = raw_packet(kind, (64, 48), 0)
    coder = coder_for(parameters, first)
    assert coder is not None
    decoder = RawDecoder(coder.parameters, parameters)
    for seed in range(3):
        packet = raw_packet(kind, (64, 48), seed)[1]
        assert decoder.raw(coder.coded(packet)) == packet
    picture = decoder_of(parameters).decode(av.Packet(first))[0]
    assert (picture.width, picture.height, picture.format.name) == (64, 48, kind)


def test_raw_pictures_that_would_not_come_back_stay_as_they_are() -> None:
    assert coder_for(*raw_packet("yuyv422", (63, 48), 0)) is None
    assert coder_for(*raw_packet("bgra", (64, 48), 0)) is None


def test_numbers_in_lines_come_back_bit_for_bit(tmp_path: Path) -> None:
    lines = [{"a": [0.1 + 0.2, 1e-323, -0.0, 2.0**60, float("inf")]}, {"b": 'ü\n"crc"'}]
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"".join(map(line_of, lines)) + line_of({"c": 1})[:-4])
    assert repr(list(records(path))) == repr(lines)


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "hevc")])
def test_players_take_the_packets_of_an_mp4(tmp_path: Path, codec: str, name: str) -> None:
    """Which has lengths in them, and parameter sets elsewhere."""
    clip, folder = clips.make(tmp_path / "a.mp4", frames=20, codec=codec), tmp_path / "recording"
    with Stream(open_source(clip, request=PACED, record=folder), estimator=Nobody()) as stream:
        motions = [(motion.index, motion.final) for motion in stream]
    with av.open(str(folder / f"video-1.{name}")) as video, av.open(str(clip)) as original:
        pictures, same = ([picture.to_ndarray() for picture in one.decode(video=0)] for one in (video, original))
    assert len(pictures) == 20
    np.testing.assert_array_equal(pictures, same)
    with Stream.replay(folder) as stream:
        assert [(motion.index, motion.final) for motion in stream] == motions


def test_packets_that_would_not_come_back_have_no_start_codes() -> None:
    units = (b"\x65one\0\0", b"\x41\0\0\3\0\0\3two")
    packet = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    coded = with_start_codes(packet)
    assert coded is not None and coded.count(b"\0\0\0\1") == 2 and with_lengths(coded) == packet
    for broken in (packet[:-1], b"\0\0\0\5\x65\0\0\0\1", b"\1\2\3"):
        assert with_start_codes(broken) is None


def test_an_opening_without_a_packet_leaves_no_file(tmp_path: Path) -> None:
    store, opened = Store(tmp_path / "recording"), {"opened": {"codec": "h264"}}
    for record, packet in (
        (opened, b""),
        ({"flush": True}, b""),
        (opened, b""),
        ({"pts": 1}, b"packet"),
        (opened, b""),
    ):
        store.put(record, packet)
    store.close()
    assert sorted(path.name for path in store.folder.iterdir()) == ["journal.jsonl", "video-1.h264"]
    lines = list(records(store.folder / "journal.jsonl"))
    assert [set(line) & {"opened", "flush", "pts"} for line in lines] == [{"opened"}, {"pts"}]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system limits no file's size")
def test_a_full_disk_ends_the_recording_and_not_the_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip, folder = clips.make(tmp_path / "a.mp4", frames=60), tmp_path / "recording"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Stream(open_source(clip, request=PACED, record=folder), estimator=Nobody()) as stream:
        motions, journal = iter(stream), folder / "journal.jsonl.part"
        while b'"motions"' not in journal.read_bytes():
            next(motions)
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 500, before[1]))
        try:
            with caplog.at_level(logging.WARNING):
                later = list(motions)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    sentences = [line for line in caplog.messages if "recording" in line]
    assert len(sentences) == 1
    assert "ends here, and the stream goes on" in sentences[0] and "largest size allowed" in sentences[0]
    with Stream.replay(folder) as stream:
        kept = [motion.index for motion in stream]
    assert kept and later[-1].index > kept[-1]


def test_only_an_empty_folder_is_recorded_into(tmp_path: Path) -> None:
    clip, folder = clips.make(tmp_path / "a.mp4"), tmp_path / "notes"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="notes is not empty: give a new folder for the recording"):
        open_source(clip, request=PACED, record=folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("kind", ["a file", "frames", "push"])
def test_what_is_not_live_is_not_recorded(tmp_path: Path, kind: str) -> None:
    clip = clips.make(tmp_path / "a.mp4")
    source = {"a file": str(clip), "frames": iter([clips.picture(0)]), "push": None}[kind]
    with pytest.raises(ValueError, match="live .*: leave"):
        Stream(source, record=tmp_path / "recording")
    assert not (tmp_path / "recording").exists()


def test_a_stream_that_never_began_leaves_no_recording(tmp_path: Path) -> None:
    clip = clips.make(tmp_path / "a.mp4")
    reader = open_source(clip, request=PACED, record=tmp_path / "recording")
    with pytest.raises(ValueError, match="every must be"):
        Stream(reader, every=0.5, estimator=Nobody())  # type: ignore[arg-type]
    assert not (tmp_path / "recording").exists()


def test_the_header_hides_passwords_and_names_versions(tmp_path: Path) -> None:
    from mixsynth_stream.pipeline.frame import VideoInfo
    from mixsynth_stream.pipeline.sources.recording.header import write_header

    info = VideoInfo(source="rtsp://me:secret@host/a?token=abc", width=1, height=1, rate_hz=None, live=True)
    write_header(tmp_path, info, {})
    text = (tmp_path / "recording.json").read_text()
    assert "secret" not in text and "abc" not in text
    assert set(json.loads(text)["versions"]) == {"python", "machine", "numpy", "av", "mediapipe"}

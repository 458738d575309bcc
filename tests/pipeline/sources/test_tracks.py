"""Tracks: the video that players show, or the one that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from av.stream import Disposition
from support import clips

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.open import open_source

DEFAULT, NONE = Disposition.default, Disposition(0)
Track = tuple[int, Disposition]  # width, marks


def several(path: Path, tracks: Sequence[Track], frames: int = 12) -> Path:
    """A file with several video tracks, 48 high."""
    with av.open(str(path), "w") as container:
        streams = []
        for width, disposition in tracks:
            is_cover = bool(disposition & Disposition.attached_pic)
            stream = container.add_stream("mjpeg" if is_cover else "libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuvj420p" if is_cover else "yuv420p"
            stream.disposition = disposition
            streams.append((stream, 1 if is_cover else frames))
        for index in range(frames):
            for stream, count in streams:
                if index < count:
                    picture = av.VideoFrame.from_ndarray(clips.picture(index, stream.width, 48), format="rgb24")
                    picture.pts = index
                    container.mux(stream.encode(picture))
        for stream, _ in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("tracks", "width"),
    [
        ([(32, NONE), (64, DEFAULT)], 64),
        ([(64, DEFAULT), (128, NONE)], 64),
        ([(64, NONE), (32, DEFAULT), (128, NONE)], 32),
        ([(32, NONE), (128, NONE), (64, NONE)], 128),
        ([(32, DEFAULT), (128, DEFAULT)], 128),
    ],
    ids=["preview first", "default first", "small default", "none is default", "all are"],
)
def test_the_track_that_players_show(tmp_path: Path, tracks: list[Track], width: int) -> None:
    with open_source(several(tmp_path / "a.mkv", tracks)) as reader:
        assert reader.info.width == width
        assert [frame.width for frame in reader] == [width] * 12


def test_a_preview_before_the_video_of_an_mp4(tmp_path: Path) -> None:
    with open_source(several(tmp_path / "a.mp4", [(32, NONE), (64, DEFAULT)])) as reader:
        assert reader.info.width == 64


def test_a_cover_is_no_video_unless_it_is_named(tmp_path: Path) -> None:
    path = several(tmp_path / "a.mp4", [(128, Disposition.attached_pic), (64, NONE)])
    with open_source(path) as reader:
        assert {frame.width for frame in reader} == {64}
    with open_source(path, track=1) as reader:
        assert [frame.width for frame in reader] == [128]


def test_a_transport_stream_with_two_programs(tmp_path: Path) -> None:
    """No track of a broadcast is the default one."""
    with open_source(several(tmp_path / "a.ts", [(32, NONE), (64, NONE)])) as reader:
        assert len([frame for frame in reader if frame.width == 64]) == 12


def test_a_track_by_its_number(tmp_path: Path) -> None:
    path = several(tmp_path / "a.mkv", [(32, NONE), (64, DEFAULT), (128, NONE)])
    for number, width in enumerate((32, 64, 128)):
        with open_source(path, track=number) as reader:
            assert {frame.width for frame in reader} == {width}
    with pytest.raises(SourceError, match=r"no video track 3: choose one of 0 \(32x48 h264\), 1 \(64x48 h264, default"):
        open_source(path, track=3)
    with pytest.raises(ValueError, match="0 or more"):
        open_source(path, track=-1)
    with pytest.raises(SourceError, match="no video tracks to choose from"):
        open_source("synthetic:seconds=1", track=0)


def test_a_live_source_has_tracks_too(tmp_path: Path) -> None:
    path = several(tmp_path / "a.mkv", [(32, NONE), (64, DEFAULT)], frames=90)
    for track, width in ((None, 64), (0, 32)):
        with LiveReader("camera", opener=lambda: av.open(str(path)), retries=0, track=track) as reader:
            assert reader.info.width == width
            assert next(reader).width == width
    with pytest.raises(SourceError, match="camera has no video track 2"):
        LiveReader("camera", opener=lambda: av.open(str(path)), track=2)

"""Pictures as players show them: photos with EXIF, every orientation, samples that are not square."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from av.stream import Disposition
from support import clips, photos

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.sources.pixels.geometry import square_width
from mixsynth_stream.pipeline.sources.pixels.pictures import refuse_tiles
from mixsynth_stream.pipeline.sources.video import VideoReader

RED, GREEN, BLUE, WHITE = clips.CORNERS
# The corners that a viewer sees, clockwise from the top left, by the value of EXIF's tag Orientation.
ORIENTATIONS = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),  # mirrored
    3: (BLUE, WHITE, RED, GREEN),  # turned by 180 degrees
    4: (WHITE, BLUE, GREEN, RED),
    5: (RED, WHITE, BLUE, GREEN),
    6: (WHITE, RED, GREEN, BLUE),  # turned by 90 degrees
    7: (BLUE, GREEN, RED, WHITE),
    8: (GREEN, BLUE, WHITE, RED),
}


def read(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return list(reader)


def assert_shown(frame: Frame, corners: tuple[tuple[int, int, int], ...], size: tuple[int, int]) -> None:
    assert (frame.width, frame.height) == size
    assert frame.rgb.shape == (size[1], size[0], 3)
    np.testing.assert_allclose(np.array(clips.corners(frame.rgb), int), np.array(corners), atol=12)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photo_is_shown_as_its_exif_block_says(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photos.jpeg(orientation))
    (frame,) = read(path)
    assert_shown(frame, ORIENTATIONS[orientation], (48, 64) if orientation > 4 else (64, 48))
    assert frame.stored_size == (frame.width, frame.height)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mov", "clip.mkv"])
def test_motion_jpeg_with_exif_is_read(tmp_path: Path, name: str) -> None:
    frames = read(photos.photo_clip(tmp_path / name, 6))
    assert len(frames) == 3
    for frame in frames:
        assert_shown(frame, ORIENTATIONS[6], (48, 64))


def test_each_photo_of_a_sequence_is_shown_as_its_own_block_says(tmp_path: Path) -> None:
    """Half a turn and a mirror image look the same to `picture.rotation`."""
    path = tmp_path / "sequence.mjpeg"
    path.write_bytes(b"".join(photos.jpeg(orientation) for orientation in ORIENTATIONS))
    frames = read(path)
    assert len(frames) == 8
    for frame, (orientation, corners) in zip(frames, ORIENTATIONS.items(), strict=True):
        assert_shown(frame, corners, (48, 64) if orientation > 4 else (64, 48))


def heic(*tracks: tuple[int, int, Disposition]) -> SimpleNamespace:
    """What FFmpeg makes of a HEIC file: a track for each picture in it, by width, height and disposition."""
    video = [
        SimpleNamespace(codec_context=SimpleNamespace(width=width, height=height), disposition=kind, frames=1)
        for width, height, kind in tracks
    ]
    return SimpleNamespace(streams=SimpleNamespace(video=video))


def test_one_tile_is_not_taken_for_the_photo() -> None:
    """The HEIC photos of phones: 48 tiles and a preview. Simple ones hold the photo, a preview and other photos."""
    tile = (512, 512, Disposition.dependent)
    with pytest.raises(SourceError, match="photo.heic is a photo in 48 tiles.*: convert it"):
        refuse_tiles(heic(*[tile] * 48, (240, 320, Disposition(0))), "photo.heic")
    refuse_tiles(heic((3024, 4032, Disposition.default), (240, 320, Disposition(0))), "photo.heic")
    refuse_tiles(heic((64, 64, Disposition(0)), *[(64, 64, Disposition.dependent)] * 2), "photo.heic")
    refuse_tiles(heic((64, 100, Disposition.dependent)), "photo.heic")


# Anamorphic 2:1, NTSC and PAL discs, HDV's 4:3.
@pytest.mark.parametrize(("aspect", "width"), [("2", 128), ("8/9", 57), ("16/15", 68), ("4/3", 85), ("1/2", 32)])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.mkv"])
def test_samples_come_square(tmp_path: Path, name: str, aspect: str, width: int) -> None:
    frames = read(clips.make(tmp_path / name, frames=5, aspect=Fraction(aspect)))
    for frame in frames:
        assert_shown(frame, clips.CORNERS, (width, 48))
        assert frame.stored_size == (64, 48)
    with VideoReader(tmp_path / name) as reader:
        assert (reader.info.width, reader.info.height, reader.info.stored_size) == (width, 48, (64, 48))


@pytest.mark.parametrize(
    ("turn", "corners"), [(90, ORIENTATIONS[6]), (180, ORIENTATIONS[3]), ("mirror", ORIENTATIONS[2])]
)
def test_samples_of_turned_videos_come_square(tmp_path: Path, turn: int | str, corners: tuple) -> None:
    frames = read(clips.make(tmp_path / "clip.mp4", frames=3, turn=turn, aspect=Fraction(2)))
    for frame in frames:
        assert_shown(frame, corners, (48, 128) if turn == 90 else (128, 48))
        assert frame.stored_size == ((48, 64) if turn == 90 else (64, 48))


def test_the_container_stands_above_the_codec(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "clip.mp4", frames=3, aspect=Fraction(2))
    clips.set_container_aspect(path, 4, 3)
    for frame in read(path):
        assert_shown(frame, clips.CORNERS, (85, 48))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_aspect_of_samples_may_change_in_mid_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Decoders work ahead of the pictures that they give; each picture keeps its own aspect."""
    monkeypatch.setattr("mixsynth_stream.pipeline.sources.video._DECODER_THREADS", threads)
    aspects = [Fraction(1)] * 15 + [Fraction(2)] * 15 + [Fraction(4, 3)] * 15
    frames = read(clips.with_aspects(tmp_path / "clip.ts", aspects))
    assert [frame.width for frame in frames] == [square_width(64, aspect) for aspect in aspects]
    for frame in frames:
        assert_shown(frame, clips.CORNERS, (frame.width, 48))
        assert frame.stored_size == (64, 48)


@pytest.mark.parametrize("aspect", [None, Fraction(0), Fraction(1, 5000), Fraction(5000), Fraction(1)])
def test_without_an_aspect_that_can_be_true_samples_are_square(aspect: Fraction | None) -> None:
    assert square_width(720, aspect) == 720


@pytest.mark.parametrize(
    ("width", "aspect", "shown"),
    [
        (720, "8/9", 640),
        (720, "32/27", 853),
        (720, "16/15", 768),
        (720, "64/45", 1024),
        (1440, "4/3", 1920),
        (1, "1/4", 1),
    ],
)
def test_widths_are_those_of_players(width: int, aspect: str, shown: int) -> None:
    assert square_width(width, Fraction(aspect)) == shown


def test_an_absurd_aspect_in_a_file_counts_as_none(tmp_path: Path) -> None:
    for frame in read(clips.make(tmp_path / "clip.mkv", frames=3, aspect=Fraction(255))):
        assert_shown(frame, clips.CORNERS, (64, 48))

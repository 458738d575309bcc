"""StillsReader: picture files as one clip, in the order of their numbers."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from support import clips

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.open import open_for_stream, open_source

_CODECS = {".png": ("png", "rgb24"), ".jpg": ("mjpeg", "yuvj420p"), ".bmp": ("bmp", "bgr24"), ".ppm": ("ppm", "rgb24")}


def still(path: Path, index: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    """A picture file; the brightness of its middle says which one it is."""
    name, pix_fmt = _CODECS[path.suffix]
    codec = av.CodecContext.create(name, "w")
    codec.width, codec.height, codec.pix_fmt, codec.framerate = *size, pix_fmt, 30
    picture = av.VideoFrame.from_ndarray(clips.picture(index, *size), format="rgb24").reformat(format=pix_fmt)
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)]))
    return path


def order(reader: object) -> list[int]:
    """Which pictures came: the numbers that `still` drew."""
    middles = [int(frame.rgb[frame.height // 2, frame.width // 2].mean()) for frame in reader]  # type: ignore[attr-defined]
    return [round((middle - 16) / 7) for middle in middles]


@pytest.mark.parametrize("source", ["", "*.png", "shot*.png", "shot%d.png", "shot[0-9]*"])
def test_pictures_are_one_clip_in_the_order_of_their_numbers(tmp_path: Path, source: str) -> None:
    numbers = [1, 2, 9, 10, 12, 30]  # gaps are no end
    for index, number in enumerate(numbers):
        still(tmp_path / f"shot{number}.png", index)
    (tmp_path / "notes.txt").write_text("taken in the rain")
    with open_source(str(tmp_path / source), rate_hz=24) as reader:
        assert (reader.info.rate_hz, reader.info.frame_count, reader.info.live) == (24, 6, False)
        assert reader.info.duration_s == pytest.approx(0.25)
        frames = list(reader)
    assert [frame.index for frame in frames] == list(range(6))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(6) / 24)
    assert order(frames) == list(range(6))


def test_numbers_with_zeros_in_front_and_a_list_of_paths(tmp_path: Path) -> None:
    paths = [still(tmp_path / f"img_{number:04d}.png", number) for number in range(4)]
    still(tmp_path / "img_7.png", 9)
    with open_source(str(tmp_path / "img_%04d.png")) as reader:
        assert reader.info.rate_hz == 30
        assert order(reader) == [0, 1, 2, 3]
    with open_source(paths[::-1]) as reader:
        assert order(reader) == [3, 2, 1, 0]


def test_formats_and_sizes_may_differ(tmp_path: Path) -> None:
    sizes = [(64, 48), (32, 24), (65, 47)]
    for index, suffix in enumerate((".jpg", ".bmp", ".ppm")):
        still(tmp_path / f"{index}{suffix}", index, sizes[index])
    with open_for_stream(tmp_path, has_estimator=True) as reader:
        frames = list(reader)
    assert [(frame.width, frame.height) for frame in frames] == sizes
    for frame in frames:
        np.testing.assert_allclose(np.array(clips.corners(frame.rgb), int), np.array(clips.CORNERS), atol=20)


def test_a_broken_picture_is_left_out_and_its_time_passes(tmp_path: Path) -> None:
    for index in range(4):
        still(tmp_path / f"{index}.png", index)
    clips.text(tmp_path / "1.png")
    with open_source(tmp_path) as reader:
        frames = list(reader)
    assert [frame.index for frame in frames] == [0, 1, 2]
    np.testing.assert_allclose([frame.time_s for frame in frames], np.array([0, 2, 3]) / 30)
    assert reader.counters == {"unreadable_pictures": 1}


def test_pictures_none_of_which_can_be_read(tmp_path: Path) -> None:
    clips.text(tmp_path / "1.png")
    clips.empty(tmp_path / "2.png")
    with pytest.raises(SourceError, match=r"1\.png cannot be decoded"):
        open_source(tmp_path)


def test_one_picture_is_one_frame(tmp_path: Path) -> None:
    path = still(tmp_path / "a.png", 3)
    for source in (path, tmp_path, tmp_path / "*.png"):
        with open_source(source) as reader:
            assert order(reader) == [3]


def test_a_folder_with_videos_says_what_to_do(tmp_path: Path) -> None:
    clips.make(tmp_path / "a.mp4", frames=2)
    clips.make(tmp_path / "b.avi", frames=2)
    with pytest.raises(SourceError, match=r"folder with 2 videos: give '.*\*\.mp4' '.*\*\.avi'"):
        open_source(tmp_path)
    still(tmp_path / "a.png")
    with pytest.raises(
        SourceError, match=r"2 videos and 1 picture: .* for the videos, or '.*\*\.png' for the pictures"
    ):
        open_source(tmp_path)
    (tmp_path / "sub").mkdir()
    with pytest.raises(SourceError, match="folder without pictures and videos"):
        open_source(tmp_path / "sub")


def test_an_animated_webp_says_that_it_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    with av.open(str(path), "w", format="webp") as container:
        stream = container.add_stream("libwebp_anim", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(clips.picture(index), format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="a.webp is an animated WebP.*: make a video of it"):
        open_source(path)

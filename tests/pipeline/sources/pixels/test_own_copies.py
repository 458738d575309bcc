"""Pictures that wait: copied out of the decoder's memory without a change, and with no threads of their own."""

from __future__ import annotations

import os
import sys
import weakref
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support import clips, hdr
from support.scenes import scene

import mixsynth_stream
from mixsynth_stream.pipeline.frame import Frame, LivePictures
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.pixels.pictures import Shape, ShapedFrames, frame_from_array

FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "nv12", "gray", "yuv420p10le", "p010le", "yuyv422", "uyvy422", "rgb24"]
FORMATS += ["bgra", "gbrp", "yuva420p", "yuv410p", "rgb565le", "gray16be", "monow"]


def plane(frame: Frame) -> np.ndarray:  # [H, W]
    luma = frame.luma()
    assert luma is not None
    return luma.plane


@pytest.mark.parametrize("size", [(64, 48), (90, 52)])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_copy_shows_the_same_picture(pixel_format: str, size: tuple[int, int]) -> None:
    picture = av.VideoFrame.from_ndarray(scene(3), format="rgb24").reformat(*size, pixel_format)
    frame, same = (ShapedFrames().frame(picture, Shape(size[0], None), 0, 0.0) for _ in range(2))
    frame.own()
    for shown, expected in ((plane(frame), plane(same)), (frame.thumbnail(), same.thumbnail()), (frame.rgb, same.rgb)):
        np.testing.assert_array_equal(shown, expected)


KINDS: dict[str, dict[str, Any]] = {
    "h264": {},
    "interlaced": {"options": {"x264-params": "tff=1"}},
    "chroma elsewhere": {"options": {"x264-params": "chromaloc=2"}},
    "all codes": {"options": {"x264-params": "colormatrix=bt709:fullrange=on"}},
    "mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.mark.parametrize("kind", [*KINDS, "hdr"])
def test_a_copy_of_what_was_decoded_shows_the_same_picture(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.mkv"
    if kind == "hdr":
        hdr.hdr_clip(path, [np.random.default_rng(0).uniform(0, 1, (48, 64, 3))] * 3, hdr.PQ)
    else:
        clips.make(path, frames=3, **KINDS[kind])
    with open_source(str(path)) as reader, open_source(str(path)) as again:
        for frame, same in zip(reader, again, strict=True):
            frame.own()
            np.testing.assert_array_equal(frame.rgb, same.rgb)


def test_a_picture_that_was_released_is_not_copied(tmp_path: Path) -> None:
    with open_source(str(clips.make(tmp_path / "clip.mp4", frames=3))) as reader:
        frame = next(iter(reader))
        frame.release()
        frame.own()
        assert frame.luma() is None
        with pytest.raises(ValueError, match="released"):
            _ = frame.rgb


@pytest.mark.parametrize(("rate_hz", "borrowed"), [(30, 31), (300, 40)])
def test_the_decoder_has_the_memory_of_the_newest_pictures_only(tmp_path: Path, rate_hz: int, borrowed: int) -> None:
    pictures = LivePictures(are_read=True)
    with open_source(str(clips.make(tmp_path / "clip.mp4", frames=100, rate=rate_hz))) as reader:
        frames = list(reader)
        decoded = [plane(frame) for frame in frames]
        for frame in frames:
            pictures.let_go(frame, [])
        shared = [np.shares_memory(plane(frame), before) for frame, before in zip(frames, decoded, strict=True)]
        assert shared == [False] * (100 - borrowed) + [True] * borrowed


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_pictures_that_were_glanced_at_hold_no_threads(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "clip.mkv", frames=60, codec="ffv1", pix_fmt="bgr0")
    with open_source(str(path)) as reader:
        frames = list(islice(reader, 1))
        assert plane(frames[0]).shape == (48, 64)
        before = len(os.listdir("/proc/self/task"))
        frames += [frame for frame in islice(reader, 50) if plane(frame).any()]
        assert len(os.listdir("/proc/self/task")) <= before + 4
    assert len(frames) > 40


def test_no_picture_is_converted_by_itself() -> None:
    """Its converter would begin threads for each picture anew, and end them with it."""
    root = Path(mixsynth_stream.__file__).parents[1]
    files = [path for room in ("mixsynth_stream", "pipeline") for path in (root / room).rglob("*.py")]
    converting = {path.name for path in files if ".reformat(" in path.read_text(encoding="utf-8")}
    assert converting == {"converter.py", "thumbnails.py"}


def test_a_picture_that_nobody_else_holds_is_freed() -> None:
    pictures, held = LivePictures(are_read=True), []
    for number in range(10):
        rgb = np.zeros((48, 64, 3), np.uint8)
        held.append(weakref.ref(rgb))
        pictures.let_go(frame_from_array(rgb, number / 30, number), [])
        del rgb
    assert [picture() for picture in held] == [None] * 10

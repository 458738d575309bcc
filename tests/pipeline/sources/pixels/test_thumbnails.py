"""Thumbnails: the same small picture whatever the pixel format and size, and no conversion of the frame."""

from __future__ import annotations

import av
import numpy as np
import pytest
from support import clips
from support.scenes import scene

from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.pixels.thumbnails import Thumbnails
from mixsynth_stream.pipeline.sources.video import VideoReader

FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "nv12", "gray", "yuv420p10le", "p010le", "yuyv422", "uyvy422", "rgb24"]
FORMATS += ["bgra", "gbrp", "yuva420p", "yuv410p", "yuv440p", "rgb565le", "gbrp16le", "gray16be"]


def contrast(luma: np.ndarray) -> np.ndarray:  # [32, 32], mean 0 and length 1
    return (luma - luma.mean()) / np.linalg.norm(luma - luma.mean())


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_pixel_format_gives_the_picture(pixel_format):
    rgb = scene(3)
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
    luma = Thumbnails().of(picture)
    assert luma.shape == (32, 32) and luma.dtype == np.float32
    expected = frame_from_array(rgb, 0.0, 0).thumbnail()
    assert np.vdot(contrast(luma), contrast(expected)) > 0.99


@pytest.mark.parametrize("size", [(34, 47), (64, 128), (160, 120), (1080, 1920), (720, 50)])
def test_every_size_gives_the_picture(size):
    width, height = size
    grey = np.add.outer(np.linspace(0, 100, height), np.linspace(0, 155, width)).astype(np.uint8)
    expected = np.add.outer(np.linspace(0, 100, 32), np.linspace(0, 155, 32))
    pushed = frame_from_array(np.repeat(grey[:, :, None], 3, axis=2), 0.0, 0).thumbnail()
    decoded = Thumbnails().of(av.VideoFrame.from_ndarray(grey, format="gray"))
    for luma in (pushed, decoded):
        assert np.abs(luma - expected).max() < 8


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 500)])
def test_pictures_smaller_than_a_thumbnail_are_stretched(size):
    rgb = np.full((*size, 3), 77, np.uint8)
    np.testing.assert_allclose(frame_from_array(rgb, 0.0, 0).thumbnail(), 77, rtol=1e-5)


def test_a_frame_has_it_until_its_picture_is_read_or_released(tmp_path):
    frames = list(VideoReader(clips.make(tmp_path / "a.mp4", frames=3)))
    first, again = frames[0].thumbnail(), frames[0].thumbnail()
    np.testing.assert_array_equal(first, again)
    assert frames[0].rgb.shape == (48, 64, 3)
    frames[1].release()
    assert frames[0].thumbnail() is None and frames[1].thumbnail() is None
    assert frames[2].thumbnail() is not None

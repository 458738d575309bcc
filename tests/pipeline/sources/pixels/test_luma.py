"""Luma: the decoder's own brightness of a picture, and where a place of the upright picture lies in it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from support import clips

from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.video import VideoReader


def first_frame(path) -> Frame:
    with VideoReader(path) as reader:
        return next(iter(reader))


def brightness(rgb: np.ndarray) -> np.ndarray:  # [..., 3] -> [...]
    return rgb.astype(float) @ (0.299, 0.587, 0.114)


def assert_corners_agree(frame: Frame) -> None:
    """The luma at the mapped places has the order of brightness that the corners of `rgb` have."""
    luma, rgb = frame.luma(), frame.rgb
    assert luma is not None
    y, x = frame.height // 8, frame.width // 8
    places = [(x, y), (frame.width - 1 - x, y), (frame.width - 1 - x, frame.height - 1 - y), (x, frame.height - 1 - y)]
    own, shown = [], []
    for place in places:
        column, row = np.rint(luma.turn @ place + luma.shift).astype(int)
        own.append(float(luma.plane[row, column]) / 2 ** (luma.bits - 8))
        shown.append(brightness(rgb[place[1], place[0]]))
    assert np.argsort(own).tolist() == np.argsort(shown).tolist()
    np.testing.assert_allclose(own, shown, atol=30)


@pytest.mark.parametrize("turn", clips.MATRICES)
@pytest.mark.parametrize("aspect", [None, Fraction(4, 3), Fraction(1, 2)])
def test_places_of_the_upright_picture_are_found(tmp_path, turn, aspect):
    path = clips.make(tmp_path / "clip.mp4", frames=3, turn=turn, aspect=aspect)
    assert_corners_agree(first_frame(path))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name", "bits"),
    [
        ("libx264", "yuv420p", "clip.mp4", 8),
        ("libx264", "yuv422p", "clip.mkv", 8),
        ("libx264", "yuv420p10le", "clip.mkv", 10),
        ("mjpeg", "yuvj420p", "clip.avi", 8),
        ("ffv1", "gray", "clip.mkv", 8),
        ("ffv1", "bgr0", "clip.mkv", 8),
        ("png", "rgb24", "clip.mov", 8),
    ],
)
def test_every_pixel_format_has_luma(tmp_path, codec, pix_fmt, name, bits):
    frame = first_frame(clips.make(tmp_path / name, frames=2, codec=codec, pix_fmt=pix_fmt))
    luma = frame.luma()
    assert luma is not None
    assert luma.bits == bits
    assert luma.plane.shape == (48, 64)
    assert_corners_agree(frame)


def test_luma_is_not_copied_and_goes_with_the_picture(tmp_path):
    frame = first_frame(clips.make(tmp_path / "clip.mp4", frames=2, size=(70, 50)))
    first, second = frame.luma(), frame.luma()
    assert first is not None and second is not None
    assert first.plane.ctypes.data == second.plane.ctypes.data
    assert not first.plane.flags.owndata
    frame.release()
    assert frame.luma() is None


def test_a_user_s_picture_is_its_own_luma():
    rgb = np.zeros((30, 40, 3), np.uint8)
    luma = frame_from_array(rgb, 0.0, 0).luma()
    assert luma is not None
    assert luma.plane is rgb
    mirrored = frame_from_array(rgb[:, ::-1], 0.0, 0).luma()
    assert mirrored is not None
    assert mirrored.plane.strides[1] == 3

"""Pictures of the viewer's window."""

from __future__ import annotations

import numpy as np

from mixsynth_stream.viewer.window import ppm, subsample


def test_pictures_for_the_window_fit_and_keep_their_pixels():
    rgb = np.arange(900 * 1600 * 3, dtype=np.uint32).astype(np.uint8).reshape(900, 1600, 3)
    picture = subsample(rgb, 1280, 720)
    assert picture.shape[0] <= 720
    assert picture.shape[1] <= 1280
    header, _, data = ppm(picture).partition(b"\n")
    assert header == b"P6 800 450 255"
    assert np.array_equal(np.frombuffer(data, np.uint8).reshape(450, 800, 3), rgb[::2, ::2])

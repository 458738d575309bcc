"""RgbReader: frames of the user's own, with and without times."""

from __future__ import annotations

import numpy as np
import pytest
from support import clips

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.open import open_source


def test_frames_of_ones_own() -> None:
    rgb = clips.picture(0)
    with open_source([rgb, rgb[:, ::-1], rgb], rate_hz=20) as reader:
        assert reader.info.frame_count == 3
        frames = list(reader)
    assert [frame.time_s for frame in frames] == [0, 0.05, 0.1]
    assert frames[1].rgb.flags.c_contiguous
    np.testing.assert_array_equal(frames[1].rgb, rgb[:, ::-1])
    timed = open_source((rgb, t) for t in (0.0, 0.5, 0.6))
    assert timed.info.frame_count is None
    assert [frame.time_s for frame in timed] == [0.0, 0.5, 0.6]


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (np.zeros((4, 4, 3)), "frame 0 must be .* not float64"),
        (np.zeros((4, 4), np.uint8), "frame 0 must be"),
        (np.zeros((4, 4, 4), np.uint8), r"frame 0 must be .* \[4, 4, 4\]"),
        ("a.mp4", "frame 0 must be .* not str"),
    ],
)
def test_frames_of_the_wrong_kind_are_refused(item: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        open_source([item])


def test_frames_back_in_time_are_refused() -> None:
    rgb = clips.picture(0)
    with pytest.raises(ValueError, match="times must be finite and grow"):
        list(open_source([(rgb, 0.0), (rgb, 1.0), (rgb, 1.0)]))


def test_no_frames_at_all_is_a_source_error() -> None:
    with pytest.raises(SourceError, match="empty"):
        open_source([])

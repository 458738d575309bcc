"""ReadAhead: the frames and errors of its source, and a thread that ends."""

from __future__ import annotations

import numpy as np
import pytest
from support import clips

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.read_ahead import ReadAhead
from mixsynth_stream.pipeline.sources.video import VideoReader


def test_the_same_frames_in_the_same_order(tmp_path):
    clip = clips.make(tmp_path / "a.mp4", frames=50)
    with VideoReader(clip) as plain, ReadAhead(VideoReader(clip)) as ahead:
        assert ahead.info == plain.info
        for one, other in zip(plain, ahead, strict=True):
            assert (one.index, one.time_s) == (other.index, other.time_s)
            np.testing.assert_array_equal(one.rgb, other.rgb)


def test_an_error_comes_after_the_frames_before_it_and_stays(tmp_path):
    clip = clips.truncated(tmp_path / "cut.mkv")
    with VideoReader(clip) as plain:
        expected = []
        with pytest.raises(SourceError):
            expected.extend(frame.index for frame in plain)
    with ReadAhead(VideoReader(clip)) as ahead:
        indices = []
        with pytest.raises(SourceError, match="cut off"):
            indices.extend(frame.index for frame in ahead)
        assert indices == expected
        with pytest.raises(SourceError, match="cut off"):
            next(ahead)
        assert ahead.counters == plain.counters


@pytest.mark.parametrize("count", [0, 1, 20])
def test_closing_in_the_middle_ends_the_thread(tmp_path, count):
    ahead = ReadAhead(VideoReader(clips.make(tmp_path / "a.mp4", frames=80)))
    for _ in range(count):
        next(ahead)
    ahead.close()
    ahead.close()
    assert not ahead._thread.is_alive()
    with pytest.raises(StopIteration):
        for _ in range(80):
            next(ahead)

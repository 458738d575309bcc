"""RotationReader: a recording of rotations as a source, which brings its own estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.fakes import person
from support.smpl_bodies import recording

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.open import open_for_stream


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.npz"
    np.savez(path, **recording(seconds=1.0, rate_hz=25.0))  # type: ignore[arg-type]
    return path


def test_frames_are_blank_and_come_at_the_recorded_times(recorded: Path) -> None:
    with open_for_stream(recorded, has_estimator=False) as reader:
        assert (reader.info.source, reader.info.width, reader.info.height) == (str(recorded), 0, 0)
        assert (reader.info.rate_hz, reader.info.frame_count) == (pytest.approx(25.0), 25)
        frames = list(reader)
        assert reader.estimator is not None
        people = [reader.estimator(frame.rgb, frame.time_s) for frame in frames]
    np.testing.assert_array_equal([frame.time_s for frame in frames], recording(1.0, 25.0)["time_s"])
    assert not any(frame.rgb.any() for frame in frames)
    assert {tuple(one.id for one in frame) for frame in people} == {(0, 1)}


def test_with_an_estimator_of_the_users_it_is_no_source(recorded: Path) -> None:
    with pytest.raises(SourceError, match=r"recorded\.npz is not a video"):
        open_for_stream(recorded, has_estimator=True)


def test_landmarks_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file of recorded estimates"):
        open_for_stream(tmp_path / "none.npz", has_estimator=False)
    one = person()
    np.savez(tmp_path / "landmarks.npz", time_s=[0.0], poses=one.pose[None], world=one.world[None])
    with pytest.raises(SourceError, match="in pixels of a video: give the video as the source"):
        open_for_stream(str(tmp_path / "landmarks.npz"), has_estimator=False)


def test_other_sources_bring_no_estimator_but_the_synthetic_one() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    assert open_for_stream([rgb], has_estimator=False).estimator is None
    with open_for_stream("synthetic:people=2&size=64x48", has_estimator=False) as reader:
        assert reader.estimator is not None and len(reader.estimator(rgb, 0.5)) == 2

"""Patterns of file names: the files that match, and names that only look like patterns."""

from __future__ import annotations

import pytest

from mixsynth_stream.errors import SourceError
from mixsynth_stream.job.patterns import expand


def test_patterns_become_the_files_that_match_in_order(tmp_path):
    for name in ("b.mp4", "a.mp4", "c.txt"):
        (tmp_path / name).touch()
    assert expand([f"{tmp_path}/*.mp4", "webcam"]) == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4", "webcam"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    (tmp_path / "take[1].mp4").touch()
    assert expand([f"{tmp_path}/take[1].mp4"]) == [f"{tmp_path}/take[1].mp4"]


def test_an_address_is_never_a_pattern():
    assert expand(["http://host/video?id=*"]) == ["http://host/video?id=*"]
    with pytest.raises(SourceError, match="no file matches"):
        expand(["nothing-here-*.mp4"])

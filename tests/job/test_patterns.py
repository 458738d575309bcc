"""Patterns of file names: the files that match, and names that only look like patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixsynth_stream.errors import SourceError
from mixsynth_stream.job.patterns import expand, stem_of


def test_patterns_become_the_files_that_match_in_order(tmp_path):
    for name in ("b.mp4", "a.mp4", "c.txt"):
        (tmp_path / name).touch()
    assert expand([f"{tmp_path}/*.mp4", "webcam"]) == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4", "webcam"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    (tmp_path / "take[1].mp4").touch()
    assert expand([f"{tmp_path}/take[1].mp4"]) == [f"{tmp_path}/take[1].mp4"]


def test_pictures_of_a_folder_are_one_source(tmp_path):
    for name in ("a/1.png", "a/2.png", "a/10.png", "a/film.mp4", "b/1.png", "b/2.png", "c/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    root = str(tmp_path)
    assert expand([f"{root}/a/*.png"]) == [f"{root}/a/*.png"]
    assert expand([f"{root}/a/%d.png"]) == [f"{root}/a/%d.png"]
    assert expand([f"{root}/a/*"]) == [f"{root}/a/*", f"{root}/a/film.mp4"]
    assert expand([f"{root}/*/*.png"]) == [f"{root}/a/*.png", f"{root}/b/*.png", f"{root}/c/1.png"]
    assert expand([f"{root}/a", f"{root}/c/1.png"]) == [f"{root}/a", f"{root}/c/1.png"]


def test_pictures_that_the_shell_has_listed_are_one_source(tmp_path):
    names = [str(tmp_path / f"shot{number}_left.png") for number in (1, 2, 11)]
    for name in [*names, str(tmp_path / "shot1_right.png"), str(tmp_path / "film.mp4")]:
        Path(name).touch()
    assert expand(names) == [f"{tmp_path}/shot*_left.png"]
    assert expand([str(tmp_path / "film.mp4"), *names]) == [str(tmp_path / "film.mp4"), f"{tmp_path}/shot*_left.png"]
    assert expand(names[:2]) == names[:2]  # two of three were chosen by hand


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("x/a.mp4", "a"),
        ("shots/*.png", "shots"),
        ("shots/img_%04d.png", "img"),
        ("takes [[]old]/*.png", "takes [old]"),
        ("shots/", "shots"),
        ("-", "-"),
    ],
)
def test_results_are_named_after_the_source(source, stem):
    assert stem_of(source) == stem


def test_brackets_in_the_name_of_a_folder(tmp_path):
    (tmp_path / "takes [old]").mkdir()
    for name in ("take2.mp4", "take10.mp4"):
        (tmp_path / "takes [old]" / name).touch()
    folder = f"{tmp_path}/takes [old]"
    assert expand([f"{folder}/*.mp4"]) == [f"{folder}/take2.mp4", f"{folder}/take10.mp4"]


def test_an_address_is_never_a_pattern():
    assert expand(["http://host/video?id=*"]) == ["http://host/video?id=*"]
    with pytest.raises(SourceError, match="no file matches"):
        expand(["nothing-here-*.mp4"])

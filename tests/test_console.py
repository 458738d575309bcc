"""Names as people see them, and lines on standard streams that are closed or take nothing."""

from __future__ import annotations

import io
import sys

import pytest

from mixsynth_stream.console import say, settle, shown, source_names, utf8


def undecodable(name: bytes) -> str:
    """A file's name as Python has it."""
    return name.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("12:30 é ビデオ 👨\u200d👩.mp4", "12:30 é ビデオ 👨\u200d👩.mp4"),
        (undecodable(b"vid\xe9o.mp4"), r"vid\xe9o.mp4"),
        ("two\nlines\tand\x1b[31m red\x7f\x85", r"two\nlines\tand\x1b[31m red\x7f\x85"),
        ("exe.\u202e4pm", r"exe.\u202e4pm"),  # a terminal would turn the line around
        ("half \ud83d", r"half \ud83d"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_a_name_is_shown_in_one_line_that_every_terminal_takes(name, text):
    assert shown(name) == text
    assert shown(name).encode("utf-8") and len(shown(name).splitlines()) == 1


def test_a_file_keeps_all_that_is_text():
    assert utf8("two\nlines \u202e é") == "two\nlines \u202e é"
    assert utf8(undecodable(b"vid\xe9o")) == r"vid\xe9o"


class Broken(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_nobody_to_tell_is_no_error(monkeypatch):
    for stream in (None, Broken()):
        monkeypatch.setattr(sys, "stderr", stream)
        say("a line")


def test_what_a_stream_does_not_take_at_the_end_is_told_once():
    assert settle(None) is None and settle(io.StringIO()) is None
    assert settle(Broken()).errno == 28


def test_each_source_has_a_short_name_of_its_own_without_its_password():
    sources = ["a/clip.mp4", "b/clip.mp4", "clip.mp4 (2)", "rtsp://me:one@cam/1", "rtsp://me:two@cam/1", "-", "shots/"]
    names = [
        "clip.mp4",
        "clip.mp4 (2)",
        "clip.mp4 (2) (2)",
        "rtsp://me:***@cam/1",
        "rtsp://me:***@cam/1 (2)",
        "-",
        "shots/",
    ]
    assert source_names(sources) == names

"""Names: odd ones open and are shown escaped, patterns match what a person means."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support import clips

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.media.names import is_pattern, matches
from mixsynth_stream.pipeline.sources.open import open_source

LATIN_1 = os.fsdecode(b"vid\xe9o")


def test_names_are_shown_in_one_printable_line() -> None:
    assert shown("Übung 1 – клип.mp4") == "Übung 1 – клип.mp4"
    assert shown(LATIN_1 + "\n\x1b[31m\x00\u202e.mp4") == r"vid\xe9o\n\x1b[31m\x00\u202e.mp4"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / LATIN_1
    folder.mkdir()
    path = clips.make(tmp_path / "a.mp4", frames=3).rename(folder / f"{LATIN_1}.mp4")
    for source in (path, str(path), os.fsencode(path)):
        with open_source(source) as reader:
            assert len(list(reader)) == 3
            assert reader.info.source == str(path)
    clips.text(path)
    for source in (path, folder, folder / "none.mp4", folder / "*.png"):
        with pytest.raises(SourceError, match=r"vid\\xe9o") as caught:
            open_source(source)
        str(caught.value).encode()


def test_natural_order_and_numbers(tmp_path: Path) -> None:
    for name in ("t10.mp4", "t2.mp4", "t1.mp4", "t002.mp4", "tx.mp4", "t3.mov"):
        (tmp_path / name).touch()

    def names(pattern: str) -> list[str]:
        return [Path(path).name for path in matches(str(tmp_path / pattern))]

    assert names("t*.mp4") == ["t1.mp4", "t002.mp4", "t2.mp4", "t10.mp4", "tx.mp4"]
    assert names("t%d.mp4") == ["t1.mp4", "t002.mp4", "t2.mp4", "t10.mp4"]
    assert names("t%03d.mp4") == ["t002.mp4"]
    assert names("t%d.*") == ["t1.mp4", "t002.mp4", "t2.mp4", "t3.mov", "t10.mp4"]


@pytest.mark.parametrize("folder", ["takes [old]", "takes [a-", "[x]/deep [y]", "100%d"])
def test_brackets_of_a_folder_are_its_name(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "a.mp4").touch()
    expected = [str(tmp_path / folder / "a.mp4")]
    assert matches(str(tmp_path / folder / "*.mp4")) == expected
    assert matches(str(tmp_path / "*" / Path(*Path(folder).parts[1:]) / "*.mp4")) == expected


def test_what_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "50%d [new].mp4").touch()
    for name in (str(tmp_path / "50%d [new].mp4"), "http://host/*.mp4", "plain.mp4", "100%.mp4", "a%20d.mp4"):
        assert not is_pattern(name), name

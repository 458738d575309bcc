"""A session: results one by one, and files or videos of one name kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.fakes import CatmullRom

from mixsynth_stream.data.mocap import DEFAULT_DATA
from mixsynth_stream.evaluate.session import Session
from mixsynth_stream.files import CHECKOUT


@pytest.fixture
def few_clips(tmp_path: Path) -> list[Path]:
    """Seven clips, in two files of one name."""
    with np.load(CHECKOUT / DEFAULT_DATA[0]) as data:
        arrays = {key: data[key] for key in data.files}
    for key in ("starts", "lengths", "subject", "trial", "src", "licence"):
        arrays[key] = arrays[key][13:20]
    paths = [tmp_path / folder / "few.npz" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        np.savez(path, **arrays)
    return paths


def test_a_result_comes_before_the_next_one_is_computed(few_clips: list[Path]) -> None:
    lines: list[str] = []
    session = Session([("one", CatmullRom("image")), ("two", CatmullRom("world"))], progress=lines.append)
    results = session.on_files(few_clips)
    path, name, result = next(results)
    assert (path, name) == (few_clips[0], "one")
    assert lines == [f"evaluating one on {path}"]
    assert {row.model for row in result.rows} == {"one"}
    assert [(path, name) for path, name, _ in results] == [
        (few_clips[0], "two"),
        (few_clips[1], "one"),
        (few_clips[1], "two"),
    ]
    assert lines[-1] == f"evaluating two on {few_clips[1]}"


def test_without_videos_there_is_no_result_on_videos() -> None:
    session = Session([("one", CatmullRom("image"))])
    assert list(session.on_videos(session.look([]))) == []

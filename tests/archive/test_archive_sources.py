"""Lists of sources: one a line, or a column of a table."""

from __future__ import annotations

import pytest

from mixsynth_stream.archive.sources import sources_from


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        ("list.txt", "# ours\na b.mp4\n\nß.mp4\r\n", None),
        ("list.csv", 'id,source\n1,a b.mp4\n2,"ß.mp4"\n', None),
        ("list.csv", "\ufefffile,id\na b.mp4,1\nß.mp4,2\n,3\n", "file"),
        ("list.tsv", "id\tsource\n1\ta b.mp4\n2\tß.mp4\n", None),
        ("list.jsonl", '{"source": "a b.mp4", "state": "done"}\n\n{"source": "ß.mp4"}\n', None),
    ],
)
def test_each_kind_of_list_gives_its_sources(tmp_path, name, text, column):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert sources_from(str(tmp_path / name), column) == ["a b.mp4", "ß.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "column", "words"),
    [
        ("list.txt", "\n# nothing\n", None, "has no sources"),
        ("list.txt", "a.mp4\n", "file", "--column is for .csv"),
        ("list.csv", "file,id\na.mp4,1\n", None, "no text in column 'source', but file, id"),
        ("list.jsonl", '{"source": 3}\n', None, "no text in column 'source', but source"),
        ("list.jsonl", '{"source": "a.mp4"}\n{"sour', None, "line 2 of .* is no JSON"),
        ("list.jsonl", "[1]\n", None, "is no JSON object"),
        ("missing.txt", None, None, "cannot be read"),
    ],
)
def test_a_list_that_does_not_fit_says_so(tmp_path, name, text, column, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        sources_from(str(tmp_path / name), column)

"""Sources of an archive that stand in a file: one a line, or a column of CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from mixsynth_stream.console import shown

DEFAULT_COLUMN = "source"


def sources_from(path: str, column: str | None = None) -> list[str]:
    """The sources in a list: names ending in .csv, .tsv and .jsonl are tables, all else has one source a line.

    `column` is that of a table, `DEFAULT_COLUMN` by default; "-" is standard input. Lines without text are left out,
    and so are lines of a plain list that begin with #. Raises `ValueError` for a list that cannot be read, or has no
    sources or no such column.
    """
    suffix = Path(path).suffix.lower()
    is_table = suffix in (".csv", ".tsv", ".jsonl", ".ndjson")
    if column is not None and not is_table:
        raise ValueError(
            f"--column is for .csv, .tsv and .jsonl, and {shown(path)} has one source a line: leave it out"
        )
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise ValueError(f"{shown(path)} cannot be read ({error.strerror}): give --sources-from a list") from error
    if not is_table:
        sources = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    else:
        rows = _csv(text, "\t" if suffix == ".tsv" else ",") if suffix in (".csv", ".tsv") else _json_lines(text, path)
        sources = [source for source in _column(rows, column or DEFAULT_COLUMN, path) if source.strip()]
    if not sources:
        raise ValueError(f"{shown(path)} has no sources: give a list with one a line, or a table with a column of them")
    return sources


def _csv(text: str, delimiter: str) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)


def _json_lines(text: str, path: str) -> Iterator[dict[str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number} of {shown(path)} is no JSON ({error}): mend the list") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} of {shown(path)} is no JSON object, but {line:.40}: mend the list")
            yield row


def _column(rows: Iterator[dict[str, str]], column: str, path: str) -> Iterator[str]:
    for row in rows:
        if not isinstance(row.get(column), str):
            names = ", ".join(str(name) for name in row)
            raise ValueError(f"{shown(path)} has no text in column {column!r}, but {names}: give --column NAME")
        yield row[column]

"""Patterns of file names, for shells that do not expand them."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from mixsynth_stream.errors import SourceError


def expand(patterns: Iterable[str]) -> list[str]:
    """Sources, with each pattern replaced by the files that match, in the order of their names.

    Raises `SourceError` where no file matches a pattern.
    """
    sources: list[str] = []
    for pattern in patterns:
        if "://" in pattern or not glob.has_magic(pattern) or Path(pattern).exists():
            sources.append(pattern)
            continue
        files = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
        if not files:
            raise SourceError(f"no file matches {pattern}: check the pattern and the folder that you are in")
        sources += files
    return sources

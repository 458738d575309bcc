"""Patterns of file names, for shells that leave them as they are."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from mixsynth_stream.errors import SourceError


def expand(patterns: Iterable[str]) -> list[str]:
    """Sources with patterns replaced by the files that match, in order of their names."""
    sources: list[str] = []
    for pattern in patterns:
        if "://" in pattern or not glob.has_magic(pattern) or Path(pattern).exists():
            sources.append(pattern)
            continue
        found = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
        if not found:
            raise SourceError(f"no file matches {pattern}: check the pattern and the folder that you are in")
        sources += found
    return sources

"""Patterns of file names, for shells that do not expand them, and pictures that belong to one clip."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.media.names import is_pattern, is_picture, matches, natural
from mixsynth_stream.pipeline.sources.media.stores import is_stored, stored_matches


def expand(patterns: Iterable[str]) -> list[str]:
    """Sources: each pattern replaced by the files that match, in natural order, its pictures by one source a folder.

    A folder of recordings is replaced by these. Pictures that the shell has listed are one source, too, where they are
    all that a pattern matches. Raises `SourceError` where no file matches a pattern, and
    `ModelError` where a store needs a package that is missing.
    """
    patterns = list(patterns)
    pictures = [name for name in patterns if is_picture(name) and os.path.isfile(name)]
    clips = {name: clip for folder in _by_folder(pictures) for clip in [_listed(folder)] if clip for name in folder}
    sources: list[str] = []
    for pattern in patterns:
        if is_stored(pattern) and glob.has_magic(pattern):
            sources += _stored(pattern)
            continue
        if not is_pattern(pattern):
            sources += _recordings_in(pattern) or [pattern]
            continue
        files = matches(pattern)
        if not files:
            raise SourceError(f"no file matches {shown(pattern)}: check the pattern and the folder that you are in")
        base = os.path.basename(pattern)
        clips |= {name: _within(folder, base) for folder in _by_folder(files) for name in folder}
        sources += files
    firsts = {clip: name for name, clip in reversed(clips.items())}
    return [clips.get(name, name) for name in sources if name not in clips or firsts[clips[name]] == name]


def _stored(pattern: str) -> list[str]:
    """The files in a store that match a pattern, in natural order."""
    try:
        files = stored_matches(pattern)
    except OSError as error:
        raise SourceError(f"{shown(pattern)} cannot be listed: {error}") from error
    if not files:
        raise SourceError(f"no file matches {shown(pattern)}: check the pattern and the bucket")
    return sorted(files, key=natural)


def _recordings_in(name: str) -> list[str]:
    if not os.path.isdir(name):
        return []
    from mixsynth_stream.pipeline.sources.recording.header import recordings_in

    return recordings_in(name)


def _by_folder(files: Sequence[str]) -> list[list[str]]:
    """The pictures among files, by folder, where there are several in one."""
    folders: dict[str, list[str]] = {}
    for name in filter(is_picture, files):
        folders.setdefault(os.path.dirname(name), []).append(name)
    return [pictures for pictures in folders.values() if len(pictures) > 1]


def _within(pictures: list[str], base: str) -> str:
    """A pattern for pictures of one folder, which `base` matches there."""
    return os.path.join(glob.escape(os.path.dirname(pictures[0])), "*" if base == "**" else base)


def _listed(pictures: list[str]) -> str:
    """The pattern that matches these pictures of one folder, and no other; "" where there is none."""
    bases = [os.path.basename(name) for name in pictures]
    start = _common_start(bases)
    end = _common_start([base[len(start) :][::-1] for base in bases])[::-1]
    for first in (start.rstrip("0123456789"), start):
        pattern = _within(pictures, f"{glob.escape(first)}*{glob.escape(end)}")
        if set(matches(pattern)) == set(pictures):
            return pattern
    return ""


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    length = next((n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]


def stem_of(source: str) -> str:
    """A name for the results of a source: that of its file or folder, without what only a pattern means."""
    if "://" in source:
        return Path(urlsplit(source).path).stem or "source"  # what follows may be a password
    if not is_pattern(source):
        return Path(source).stem or "source"
    folder, base = os.path.split(source)
    parent = os.path.basename(os.path.abspath(folder.replace("[[]", "[")))
    return re.split(r"[*?[%]", base)[0].strip(" ._-") or parent or "source"

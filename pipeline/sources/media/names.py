"""Names of sources: the patterns among them, and the files that match."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from mixsynth_stream.console import shown

# Files that hold one picture each. Animated GIFs and PNGs (.apng) count as videos.
PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".tga", ".dpx", ".exr", ".hdr"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".jp2", ".j2k", ".jxl", ".qoi", ".sgi", ".avif", ".heic", ".heif"),
)
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".mxf", ".wmv", ".flv"),
    *(".3gp", ".3g2", ".ogv", ".vob", ".gif", ".apng", ".h264", ".264", ".hevc", ".h265", ".265", ".insv", ".lrv"),
)
_NUMBER = re.compile(r"%(?:0(\d+))?d")


def is_picture(name: str) -> bool:
    """Whether a file holds one picture, by its name."""
    return Path(name).suffix.lower() in PICTURE_SUFFIXES


def are_pictures(names: Sequence[object]) -> bool:
    """Whether this is a list of paths of pictures."""
    return bool(names) and all(isinstance(name, (str, os.PathLike)) and is_picture(os.fsdecode(name)) for name in names)


def is_pattern(name: str) -> bool:
    """Whether a name stands for files that match it: with *, ? or [], or a number such as %04d."""
    if "://" in name or os.path.lexists(name):
        return False
    return glob.has_magic(name) or bool(_NUMBER.search(os.path.basename(name)))


def matches(pattern: str) -> list[str]:
    """The files that match a pattern, in the order of the numbers in their names: 2 comes before 10."""
    names = glob.glob(_with_literal_folders(_without_numbers(pattern)), recursive=True)
    if not names:  # brackets may be meant as they are, in a folder behind a *
        names = glob.glob(_without_numbers(pattern).replace("[", "[[]"), recursive=True)
    base = os.path.basename(pattern)
    if _NUMBER.search(base):
        names = [name for name in names if _numbered(base).fullmatch(os.path.basename(name))]
    return sorted((name for name in names if os.path.isfile(name)), key=natural)


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key for sorting: digits count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def pictures_in(folder: str) -> list[str]:
    """The pictures that lie in a folder, in the order of their numbers."""
    return [name for name in matches(os.path.join(glob.escape(folder), "*")) if is_picture(name)]


def pictures_behind(source: str) -> list[str]:
    """The pictures that a folder or a pattern stands for; none where a name stands for something else."""
    if os.path.isdir(source):
        return pictures_in(source)
    return [name for name in matches(source) if is_picture(name)] if is_pattern(source) else []


def videos_in(folder: str) -> list[str]:
    """The videos that lie in a folder, by their names."""
    names = matches(os.path.join(glob.escape(folder), "*"))
    return [name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES]


def folder_failure(folder: str) -> str:
    """Why a folder is no source, in a sentence that says what to do."""
    pictures, videos = pictures_in(folder), videos_in(folder)
    if not videos:
        example = os.path.join(folder, "*.mp4")
        return f"{shown(folder)} is a folder without pictures and videos: give a video file, or '{shown(example)}'"
    patterns = " ".join(f"'{shown(os.path.join(folder, '*' + suffix))}'" for suffix in _suffixes(videos))
    text = f"{shown(folder)} is a folder with {_count(videos, 'video')}"
    if not pictures:
        return f"{text}: give {patterns}"
    clip = " ".join(f"'{shown(os.path.join(folder, '*' + suffix))}'" for suffix in _suffixes(pictures))
    return f"{text} and {_count(pictures, 'picture')}: give {patterns} for the videos, or {clip} for the pictures"


def _count(names: list[str], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _suffixes(names: list[str]) -> list[str]:
    return list(dict.fromkeys(Path(name).suffix for name in names))


def _without_numbers(pattern: str) -> str:
    folder, base = os.path.split(pattern)
    return os.path.join(folder, _NUMBER.sub("*", base))


def _numbered(base: str) -> re.Pattern[str]:
    """A pattern such as img_%04d.png as a regular expression; * and ? keep their meaning."""
    parts, place = [], 0
    for number in _NUMBER.finditer(base):
        parts += [_wild(base[place : number.start()]), rf"\d{{{int(number[1] or 1)},}}"]
        place = number.end()
    return re.compile("".join([*parts, _wild(base[place:])]), re.DOTALL)


def _wild(text: str) -> str:
    return re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")


def _with_literal_folders(pattern: str) -> str:
    """The pattern with its first folders escaped as far as they exist: "takes [old]" is a name, then."""
    folder, base = os.path.split(pattern)
    if not folder or folder == pattern:
        return pattern
    if os.path.isdir(folder):
        return os.path.join(glob.escape(folder), base)
    return os.path.join(_with_literal_folders(folder), base)

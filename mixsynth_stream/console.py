"""Console: texts for people, on standard streams that may be closed, full or of another alphabet, and names in them."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from mixsynth_stream.redact import redacted

# What would break a line or turn it around.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def utf8(name: str | os.PathLike[str]) -> str:
    r"""A name as a file in UTF-8 can hold it: bytes that are not UTF-8 become \xNN, all else stays."""
    text = os.fspath(name)
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, which Windows allows
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")


def shown(name: str | os.PathLike[str]) -> str:
    """A name as messages show it: `utf8`, in one line, and `redacted`."""
    return _CONTROLS.sub(lambda match: repr(match[0])[1:-1], redacted(utf8(name)))


def source_name(source: str) -> str:
    """A source in few words: `shown`, and a file without its folder."""
    return shown(source if "://" in source else os.path.basename(source) or source)


def source_names(sources: Sequence[str]) -> list[str]:
    """`source_name` of each. One that is there already gets a number, so that each name is there once."""
    names: dict[str, None] = {}  # in order
    for source in sources:
        name = source_name(source)
        choices = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
        names[next(choice for choice in choices if choice not in names)] = None
    return list(names)


def say(line: str) -> None:
    """Write a line to standard error. Where it is closed or takes nothing, there is nobody to tell."""
    if sys.stderr is not None:
        # A signal's handler may come in the middle of another line, which raises RuntimeError.
        with suppress(OSError, ValueError, RuntimeError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def open_descriptors() -> None:
    """Lead descriptors 0, 1 and 2 to the null device where they are closed, as in daemons and under pythonw.

    Else the next files to be opened get these numbers, and C++ libraries write their logs into them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
            if descriptor != number:
                os.close(descriptor)


def settle(stream: TextIO | None) -> OSError | None:
    """Flush a standard stream for the last time. What it does not take is dropped: Python would complain at its exit.

    Returns the error that this hides.
    """
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()
        return error
    return None

"""Lines of a journal: JSON objects, each with a checksum, so that damage is told from an end that was cut off."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixsynth_stream.errors import SourceError

# How each line ends: its checksum (CRC-32, 8 hexadecimal digits) is that of all before it.
_CHECK, _CHECK_SIZE = ',"crc":"', len(',"crc":"01234567"}')


def line_of(record: dict[str, Any]) -> bytes:
    """One line. Numbers are written so that the same numbers are read."""
    text = json.dumps(record, separators=(",", ":"))[:-1]
    return f'{text}{_CHECK}{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a journal. One that is cut off ends earlier; `SourceError` where a line is damaged."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # the program was killed while it wrote
            text, end = line[: -_CHECK_SIZE - 1], line[-_CHECK_SIZE - 1 : -1]
            if end != f'{_CHECK}{zlib.crc32(text):08x}"}}'.encode():
                raise SourceError(
                    f"{path} is damaged in line {number}, whose checksum does not fit: copy the recording again"
                )
            yield json.loads(text + b"}")

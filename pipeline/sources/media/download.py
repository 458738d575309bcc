"""Downloads: files of web servers, copied whole, or looked at to say why they cannot be read."""

from __future__ import annotations

import base64
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import IO

from mixsynth_stream.pipeline.sources.media.boxes import BoxOrder

SCHEMES = ("http", "https")
PIECE = 1 << 16
OPEN_S = 10.0  # time limit for a server to begin with a file
# It may be silent for so much longer later. A live one counts as hanging after three times OPEN_S.
READ_SHARE = 2.0
# How much of a file, and for how long, is looked at to see where its index is.
_LOOK_SIZE, _LOOK_S = 64 << 20, 10.0

# What a server and a broken line raise.
FAILURES = (OSError, http.client.HTTPException, ValueError)


def request(address: str, timeout_s: float) -> http.client.HTTPResponse:
    """The answer of a server, from which the file can be read. Raises one of `FAILURES`."""
    parts = urllib.parse.urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    plain = urllib.request.Request(parts._replace(netloc=host, path=urllib.parse.quote(parts.path, "/%:@")).geturl())
    plain.add_header("User-Agent", "mixsynth-stream")  # many servers refuse Python's own
    plain.add_header("Range", "bytes=0-")  # the answer shows whether the server can begin elsewhere, too
    if user:
        plain.add_header("Authorization", f"Basic {base64.b64encode(urllib.parse.unquote(user).encode()).decode()}")
    answer: http.client.HTTPResponse = urllib.request.urlopen(plain, timeout=timeout_s)
    return answer


def copy(answer: http.client.HTTPResponse, file: IO[bytes]) -> str:
    """Copy a file, as far as it comes; gives why it is not whole, or "". An OSError of `file` is raised."""
    promised, size = answer.length, 0
    while True:
        try:
            data = answer.read(PIECE)
        except FAILURES as error:
            return f"the server broke off after {size} bytes: {error or type(error).__name__}"
        if not data:
            return f"the server broke off after {size} of {promised} bytes" if size < (promised or 0) else ""
        size += len(data)
        file.write(data)


@dataclass
class Sight:
    """What was seen of a file."""

    has_ranges: bool  # the server can begin at any byte
    head: bytes = b""
    boxes: BoxOrder = field(default_factory=BoxOrder)
    is_whole: bool = False


def look(address: str, timeout_s: float = OPEN_S) -> Sight:
    """Read a file until its index is seen, or some seconds long. Raises one of `FAILURES`."""
    end_s = time.monotonic() + _LOOK_S
    with request(address, timeout_s) as answer:
        sight = Sight(has_ranges=answer.status == http.client.PARTIAL_CONTENT)
        while sight.boxes.size < _LOOK_SIZE and time.monotonic() < end_s and not sight.boxes.has_index:
            data = answer.read(PIECE)
            if not data:
                sight.is_whole = True
                break
            sight.head = sight.head or data
            sight.boxes.feed(data)
            if sight.boxes.is_mp4 is False:
                break
    return sight

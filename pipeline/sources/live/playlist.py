"""Playlist: how far behind its sender a live list of segments (HLS) is played."""

from __future__ import annotations

from urllib.parse import urljoin

from mixsynth_stream.pipeline.sources.media import download

# FFmpeg begins a live list with the third segment from its end.
_SEGMENTS_BEHIND = 3
_MOST_BYTES = 1 << 20
_OF_QUALITIES, _DURATION, _END = "#EXT-X-STREAM-INF:", "#EXTINF:", "#EXT-X-ENDLIST"


def seconds_behind(address: str, timeout_s: float) -> float:
    """Seconds of the segments with which a live list of a web server begins: its pictures are at least as old.

    0 where there is no such list, or where it cannot be read.
    """
    if address.partition("://")[0].lower() not in download.SCHEMES:
        return 0.0
    try:
        lines, base = _lines(address, timeout_s)
        if any(line.startswith(_OF_QUALITIES) for line in lines):  # of which each is a list of the same segments
            lines, _ = _lines(urljoin(base, next(line for line in lines if not line.startswith("#"))), timeout_s)
        durations_s = [float(line.removeprefix(_DURATION).partition(",")[0]) for line in lines if _DURATION in line]
    except (*download.FAILURES, StopIteration):
        return 0.0
    return 0.0 if _END in lines else sum(durations_s[-_SEGMENTS_BEHIND:])


def _lines(address: str, timeout_s: float) -> tuple[list[str], str]:
    """The lines of a list, and where it lies in the end. Raises one of `FAILURES`."""
    with download.request(address, timeout_s) as answer:
        text = answer.read(_MOST_BYTES).decode()
        return [line.strip() for line in text.splitlines() if line.strip()], answer.geturl()

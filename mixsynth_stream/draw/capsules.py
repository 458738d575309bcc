"""Capsules (lines with round ends, and discs where both ends meet): the pixels near them, and the distances."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Pixels in one piece of work. The system gives larger arrays new pages each time, which costs more than the sums.
_CHUNK = 16384


def pixels_near(
    start: np.ndarray,  # [S, 2]
    end: np.ndarray,  # [S, 2]
    reach: np.ndarray,  # [S]
    axis: int,
    width: int,
    height: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The pixels within reach of each capsule: flat index, distance from the middle line, and index of the capsule.

    All capsules run mostly along `axis`. One run of pixels for every step along that axis covers a capsule.
    """
    size = width if axis == 0 else height
    low, high = np.minimum(start, end)[:, axis], np.maximum(start, end)[:, axis]
    first = np.clip(np.floor(low - reach), 0, size).astype(np.int64)
    lengths = np.clip(np.ceil(high + reach) + 1, 0, size).astype(np.int64) - first
    capsule = np.repeat(np.arange(len(lengths)), lengths)  # [R] of each run
    major = np.arange(len(capsule)) - np.repeat(np.cumsum(lengths) - lengths - first, lengths)  # [R]
    # Where the middle of the capsule crosses each run, and how far to either side the widest one reaches.
    vector = end - start
    slope = vector[:, 1 - axis] / np.where(vector[:, axis] == 0, 1, vector[:, axis])  # at most 1
    base = np.where(vector[:, axis] < 0, end[:, 1 - axis], start[:, 1 - axis])
    ahead = np.clip(major - low.take(capsule), 0, (high - low).take(capsule))
    middle = np.floor(base.take(capsule) + ahead * slope.take(capsule))
    half = int(np.ceil((reach * np.hypot(1, slope)).max(initial=0)))
    columns = np.arange(-half, half + 2, dtype=np.float32)  # [K]

    length = np.maximum(np.hypot(vector[:, 0], vector[:, 1]), 1e-6)
    table = np.stack(
        [start[:, axis], start[:, 1 - axis], vector[:, axis] / length, vector[:, 1 - axis] / length, length, reach]
    ).astype(np.float32)  # [6, S]
    step = max(_CHUNK // len(columns), 1)
    for i in range(0, len(capsule), step):
        part = slice(i, i + step)
        minor = middle[part, None].astype(np.float32) + columns
        within, distance = _within_reach(major[part], minor, table.take(capsule[part], axis=1))
        run, place = within // len(columns), minor.ravel().take(within).astype(np.int64)
        inside = (place >= 0) & (place < (height if axis == 0 else width))
        run, place, distance = run[inside], place[inside], distance[inside]
        steps = major[part].take(run)
        pixel = place * width + steps if axis == 0 else steps * width + place
        yield pixel, distance, capsule[part].take(run)


def _within_reach(
    major: np.ndarray,  # [R]
    minor: np.ndarray,  # [R, K]
    table: np.ndarray,  # [6, R] each run's start along and across, unit vector along and across, length, reach
) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the pixels of [R, K] within reach of their capsule, and their distances."""
    start_major, start_minor, unit_major, unit_minor, length, reach = table[:, :, None]  # each [R, 1]
    ahead = major.astype(np.float32)[:, None] - start_major
    side = minor - start_minor  # [R, K]
    share = side * unit_minor
    share += ahead * unit_major
    np.minimum(share, length, out=share)
    np.maximum(share, 0, out=share)
    side -= share * unit_minor
    share *= unit_major
    share -= ahead
    side *= side
    share *= share
    side += share
    within = np.flatnonzero(side < reach * reach)
    return within, np.sqrt(side.ravel().take(within))


def dashes(
    start: np.ndarray,  # [S, 2]
    end: np.ndarray,  # [S, 2]
    dash_px: float,
    gap_px: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut lines into dashes: start [M, 2], end [M, 2], and the line [M] that each comes from.

    Each line begins and ends with a dash, so that short bones stay visible.
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    finite = np.flatnonzero(np.isfinite(start).all(1) & np.isfinite(end).all(1))
    start, end = start[finite], end[finite]
    length = np.hypot(*(end - start).T)
    # A line far outside the picture must not become millions of dashes.
    count = np.clip(np.round((length + gap_px) / (dash_px + gap_px)), 1, 500).astype(np.int64)  # [S]
    line = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    period = (length + gap_px) / count
    from_px = number * period[line]
    to_px = np.where(number == count[line] - 1, length[line], from_px + np.maximum(period[line] - gap_px, 0))
    unit = (end - start) / np.maximum(length, 1e-6)[:, None]
    points = [start[line] + unit[line] * px[:, None] for px in (from_px, to_px)]
    return points[0], points[1], finite[line]

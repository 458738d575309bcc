"""Plan: which packets of a file are decoded so that the pictures of its keyframes are there, bit for bit.

A packet is left out where no other picture needs it, and where nothing is needed any more before decoding can begin
anew.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Protocol

import av

from mixsynth_stream.pipeline.sources.sparse.coding import NEEDED, Judge, Kind

# No picture of any codec is shown before more than 16 that are decoded before it.
_REORDERED = 17
# So many packets at the beginning are all decoded, to see that each gives one picture with its own time stamp.
_TRIAL = 24
# Beside groups longer than this, the last pictures before a beginning and the first after it are decoded: encoders
# begin a group where a scene does, and to decode them late would take the whole group.
_LONG_GROUP, _BEFORE = 48, 3
# A group whose pictures are of no use is left out where it begins anew within so many packets.
_LONGEST_TAIL = 256
_HOLE_STEPS = 2.5  # of the step before: so long one may be a hole
_LEAP_S = 10.0  # times that jump this far may be those of another clock


class Clock(Protocol):
    """Says by the times of frames which of them are keyframes."""

    def is_due(self, time_s: float) -> bool: ...
    def restart(self, time_s: float) -> None: ...
    def tick(self, time_s: float) -> None: ...


@dataclass(frozen=True)
class Needs:
    """Which pictures somebody reads: those of keyframes, and with `most_gap_s` others, so that from the first picture
    to the last of those left out in a row it is always less."""

    clock: Clock
    most_gap_s: float | None = None


@dataclass(eq=False)
class Entry:
    """A packet, and what becomes of it. `start` is the time stamp from which its picture can be decoded late."""

    packet: av.Packet
    stamp: int
    kind: Kind
    start: int
    is_needed: bool | None = None  # None: not known yet

    def __lt__(self, other: Entry) -> bool:
        return self.stamp < other.stamp


class Plan:
    """Takes packets in order, and says which are left out."""

    def __init__(self, judge: Judge, needs: Needs, unit_s: float, last_s: float) -> None:
        """`unit_s`: the unit of time stamps; `last_s`: the time of the first frame, which is a keyframe."""
        self.is_over = False
        self.is_sound = True  # whether each packet has a time stamp of its own that fits its place
        self.most_reordered = 0  # pictures that are shown after one that is decoded after them
        self._judge = judge
        self._needs = needs
        self._unit_s = unit_s
        self._queue: deque[Entry] = deque()  # in the order of decoding
        self._waiting: list[Entry] = []  # a heap, those not settled yet
        self._new_scene_s: float | None = None
        self._last_s, self._gap_s = last_s, inf  # of the last frame settled, and of the first in a gap that is open
        self._last_stamp: int | None = None
        self._step_s, self._suspects = 0.0, 0
        self._trial = _TRIAL
        self._group = self._since_start = 0  # frames of the last group, and of this one so far
        self._start_s = last_s  # of this group
        self._starts: deque[int] = deque(maxlen=2)
        needs.clock.restart(last_s)

    def stop(self) -> None:
        """Leave out nothing more, but for the rest of a group that is begun."""
        self.is_over = True

    def restart(self, time_s: float) -> None:
        """Keyframes are counted anew from this time, in any thread."""
        self._new_scene_s = time_s

    def entries(self, packets: Iterable[av.Packet]) -> Iterator[tuple[Entry, bool]]:
        """Every packet in order, and whether to decode it."""
        for packet in packets:
            self._take(packet)
            yield from self._ready(at_end=False)
        while self._waiting:
            self._settle(is_last=len(self._waiting) == 1)
        yield from self._ready(at_end=True)

    def _take(self, packet: av.Packet) -> None:
        stamp = packet.dts if packet.pts is None else packet.pts
        is_later = stamp is not None and (self._last_stamp is None or stamp > self._last_stamp)
        if not is_later or any(entry.stamp == stamp for entry in self._waiting):
            self.is_sound = False
        kind = NEEDED if self.is_over or packet.is_discard else self._judge(packet)
        if self._trial:
            self._trial -= 1
            kind = kind._replace(is_free=False)
        if packet.is_keyframe and stamp is not None:
            self._starts.append(stamp)
            if kind.is_start:
                self._starts.append(stamp)
        entry = Entry(packet, stamp or 0, kind, self._starts[0] if self._starts else 0)
        if not kind.is_whole or self._trial:
            entry.is_needed = True
        self._queue.append(entry)
        if packet.is_discard:
            return
        self.most_reordered = max(self.most_reordered, sum(entry < other for other in self._waiting))
        heapq.heappush(self._waiting, entry)
        if len(self._waiting) > _REORDERED:
            self._settle(is_last=False)

    def _settle(self, *, is_last: bool) -> None:
        """Decide on the next frame in order of time."""
        entry = heapq.heappop(self._waiting)
        time_s = entry.stamp * self._unit_s
        step_s = time_s - self._last_s
        self.is_sound &= step_s <= _LEAP_S
        # Packets may have been lost, and pictures that need them are none, up to the second beginning from here.
        self._suspects = 2 if step_s > _HOLE_STEPS * self._step_s > 0 else self._suspects - entry.packet.is_keyframe
        if entry.packet.is_keyframe:
            self._start_s, self._group, self._since_start = time_s, self._since_start, 0
        clock, restart_s = self._needs.clock, self._new_scene_s
        if restart_s is not None:
            self._new_scene_s = None
            clock.restart(restart_s)
        is_due = clock.is_due(time_s)
        if is_due:
            clock.tick(time_s)
        is_sample = self._needs.most_gap_s is not None and self._is_sample(entry, time_s, self._needs.most_gap_s)
        is_needed = is_last or is_due or is_sample or self.is_over or self._suspects > 0
        entry.is_needed = bool(entry.is_needed) or is_needed
        self._gap_s = inf if entry.is_needed else min(self._gap_s, time_s)
        self._last_s, self._last_stamp, self._step_s = time_s, entry.stamp, step_s
        self._since_start += 1

    def _is_sample(self, entry: Entry, time_s: float, gap_s: float) -> bool:
        """Whether a picture is decoded so that none in between hide a scene of their own."""
        if not entry.kind.is_free or time_s - self._gap_s >= gap_s:
            return True
        if entry.packet.is_keyframe:
            return False  # every picture stands alone
        if self._group > _LONG_GROUP and self._last_s < self._start_s + gap_s:
            return True
        before_next = heapq.nsmallest(_BEFORE, self._waiting) if self._since_start > _LONG_GROUP else []
        return any(other.packet.is_keyframe for other in before_next)

    def _ready(self, *, at_end: bool) -> Iterator[tuple[Entry, bool]]:
        """The packets at the front whose fate is known."""
        while self._queue:
            is_decoded = self._fate(at_end)
            if is_decoded is None:
                return
            yield self._queue.popleft(), is_decoded

    def _fate(self, at_end: bool) -> bool | None:
        """Whether to decode the first packet of the queue; None where later ones will tell."""
        first = self._queue[0]
        if first.is_needed or first.is_needed is None:
            return first.is_needed
        if first.kind.is_free:
            return False
        for entry in islice(self._queue, 1, _LONGEST_TAIL):
            if entry.kind.is_start:
                return False
            if entry.is_needed is not False:
                return entry.is_needed
        return True if at_end or len(self._queue) >= _LONGEST_TAIL else None

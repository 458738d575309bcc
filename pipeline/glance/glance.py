"""Glance: everybody in a scene followed through the frames that no estimator looks at."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.pipeline.glance.back import Back
from mixsynth_stream.pipeline.glance.evidence import Glimpses
from mixsynth_stream.pipeline.glance.follow import Follower, Start, View
from mixsynth_stream.pipeline.glance.gaps import Gaps, with_glimpses
from mixsynth_stream.pipeline.glance.weigh import Record
from mixsynth_stream.pipeline.people import Scene, TrackCurves
from mixsynth_stream.pipeline.sources.journal import Journal
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.spaces import GRID_HZ

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.fit import Fit
    from mixsynth_stream.pipeline.frame import Frame

# The window's speed at a keyframe is that of its next step.
_SOON_S = 1 / GRID_HZ
# Glances are timed over this many seconds of the source before they may end.
_TRIAL_S = 2.0
# Each look keeps a small picture for the way back. Where an estimator does not answer for so long, nobody goes it.
_MOST_LOOKS, _LONGEST_GAP_S = 300, 3.0
_log = logging.getLogger(__name__)


class Glance:
    """Follows the people of the newest scene from frame to frame. It returns scenes that know more; it changes none."""

    def __init__(
        self,
        most_share: float | None = None,
        stats: StreamStats | None = None,
        journal: Journal | None = None,
    ) -> None:
        """Glances end where they take more than `most_share` of a core; None sets no limit. `stats` get their time.

        Whether they end is an answer of the `journal`.
        """
        self._stats = stats or StreamStats()
        self._journal = journal or Journal()
        self._checks = 0  # of the time that it takes
        self._followers: dict[int, Follower] = {}  # by track
        self._last_view: View | None = None
        self._gaps: dict[int, Back] = {}  # by track, of a keyframe that is not in any window yet
        self._most_share = most_share
        self._spent_s = 0.0
        self._first_s: float | None = None
        self._is_over_budget = False

    def frame(self, frame: Frame, fit: Fit, scene: Scene) -> Scene:
        """The scene with the people followed into a frame, whose picture lies in theirs by `fit`."""
        if not self._followers:
            return scene
        with self._stats.timed("glance"):
            start_s = self._clock_s()
            view = self._view(frame, fit)
            for track, follower in list(self._followers.items()):
                if view is None or not follower.fits(view) or _is_long(follower, frame.time_s):
                    del self._followers[track]
                elif follower.looks[-1].time_s < frame.time_s:
                    follower.look(frame.time_s, view)
            ahead = {track: follower.ahead() for track, follower in self._followers.items()}
            self._check_budget(frame.time_s, self._clock_s() - start_s)
            return with_glimpses(scene, ahead)

    def error(self) -> float | None:
        """How far off the poses of now are expected to be, in body scales; None where nobody is followed."""
        errors = [follower.error() for follower in self._followers.values()]
        return sum(errors) / len(errors) if errors else None

    def known(self, scene: Scene) -> Scene:
        """The scene with all that is known of the frames since the newest keyframe."""
        ahead = {track: follower.ahead(newest_only=False) for track, follower in self._followers.items()}
        return with_glimpses(scene, ahead)

    def keyframe(
        self,
        frame: Frame,
        fit: Fit,
        scene: Scene,
        newer: Sequence[tuple[Frame, Fit]],
    ) -> tuple[Gaps, list[Scene]]:
        """The scene after a keyframe with what is known of the gap before it, and those after each newer frame."""
        followers, self._followers = self._followers, {}
        gaps, self._gaps = self._gaps, {}
        if self._is_over_budget:
            return Gaps(scene), [scene] * len(newer)
        with self._stats.timed("glance"):
            past = Gaps(scene, self._between(frame.time_s, self._view(frame, fit), scene, followers, gaps))
        return past, [self.frame(later, its_fit, scene) for later, its_fit in newer]

    def gap(self, frame: Frame, fit: Fit, track: int, pose: np.ndarray) -> Back | None:
        """The way back through the gap before a keyframe that measured the `pose` [17, 2] of a track."""
        with self._stats.timed("glance"):
            view, follower = self._view(frame, fit), self._followers.get(track)
            if view is None or follower is None or not follower.fits(view):
                return None
            _follow_up_to(follower, frame.time_s, view)
            self._gaps[track] = Back(follower, pose, frame.time_s)
            return self._gaps[track]

    def _between(
        self,
        time_s: float,
        view: View | None,
        scene: Scene,
        followers: Mapping[int, Follower],
        gaps: Mapping[int, Back],
    ) -> dict[int, Glimpses | Back | None]:
        """What is known of the gap before a keyframe, by track; everybody measured there is followed from it on."""
        between: dict[int, Glimpses | Back | None] = {}
        if view is None:
            return between
        for track in scene.tracks:
            pose = _measured_pose(track, time_s)
            follower = followers.get(track.id)
            record = None
            if follower is not None and follower.fits(view):
                _follow_up_to(follower, time_s, view)
                if pose is None:
                    # Without a pose the way from the keyframe before counts. The glance may not miss the person.
                    between[track.id] = follower.ahead(newest_only=False)
                    self._followers[track.id] = follower
                else:
                    gap = gaps.get(track.id) or Back(follower, pose, time_s)
                    between[track.id], record = gap, gap.record if np.array_equal(gap.pose, pose) else None
            if pose is not None:
                record = record or (Record() if follower is None else follower.record(pose, time_s))
                self._followers[track.id] = _follower(track, pose, time_s, view, record)
        return between

    def _view(self, frame: Frame, fit: Fit) -> View | None:
        luma = frame.luma()
        if luma is None:
            return None
        self._last_view = View.of(luma, fit) if self._last_view is None else self._last_view.next(luma, fit)
        return self._last_view

    def _clock_s(self) -> float:
        """The time of this thread; asking the system takes a while, so without a limit nobody asks."""
        return 0.0 if self._most_share is None else time.thread_time()

    def _check_budget(self, time_s: float, spent_s: float) -> None:
        self._spent_s += spent_s
        self._checks += 1
        if self._first_s is None:
            self._first_s = time_s
        elapsed_s = time_s - self._first_s
        if self._most_share is None or self._is_over_budget or elapsed_s < _TRIAL_S:
            return
        if self._journal.has_come("glance", self._checks, self._spent_s > self._most_share * elapsed_s):
            self._is_over_budget = True
            share = 100 * self._spent_s / elapsed_s
            _log.info("people are no longer followed between keyframes: it took %.0f %% of a core", share)
        elif elapsed_s > 2 * _TRIAL_S:
            self._first_s, self._spent_s = time_s, 0.0


def _is_long(follower: Follower, time_s: float) -> bool:
    """Whether somebody was followed for as long as memory lasts."""
    return len(follower.looks) >= _MOST_LOOKS or time_s - follower.start.time_s > _LONGEST_GAP_S


def _follow_up_to(follower: Follower, time_s: float, view: View) -> None:
    """Follow somebody into a keyframe, unless they were."""
    if all(look.time_s != time_s for look in follower.looks):
        follower.look(time_s, view)


def _measured_pose(track: TrackCurves, time_s: float) -> np.ndarray | None:  # [17, 2]
    """The person's joints at a keyframe that saw them; joints that it did not see are the window's."""
    curve = track.curves[0]
    if curve.space.name != "image" or curve.slots.time_s[-1] != time_s or curve.sightings[-1][0] != time_s:
        return None
    pose = curve.slots.poses[-1][curve.space.core]
    return pose if np.isfinite(pose).all() else None


def _follower(track: TrackCurves, pose: np.ndarray, time_s: float, view: View, record: Record) -> Follower:
    curve = track.curves[0]
    scale = curve.network_input.scale
    world = next(
        (other.slots.poses[-1][other.space.core] for other in track.curves if other.space.name == "world"), None
    )
    soon = curve.at([time_s, time_s + _SOON_S]).poses[:, curve.space.core]
    speed = (soon[1] - soon[0]) / _SOON_S
    speed = np.where(np.isnan(speed), 0.0, speed)
    start = Start(time_s, pose, speed, scale, _pixels_per_m(pose, world, scale), curve, record)
    return Follower(start, view)


def _pixels_per_m(pose: np.ndarray, world: np.ndarray | None, scale: float) -> float:
    """The scale that lays the world pose over the pose in the picture."""
    if world is None:
        return 1.0
    # Sums, because numpy's `mean` and `sum` run its Python code.
    offsets, metres = (places - np.add.reduce(places) / len(places) for places in (pose, world[:, :2]))
    # A person who is seen as a point would have any scale.
    along, square = (float(np.add.reduce(places * metres, axis=None)) for places in (offsets, metres))
    return max(along / max(square, 1e-6), scale * 0.1)

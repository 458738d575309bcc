"""Back: the way back through the gap before a keyframe, walked when it is needed, in as many parts as one likes."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.pipeline.glance.weigh import WEIGHING, Ways

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.glance.evidence import Glimpses
    from mixsynth_stream.pipeline.glance.follow import Follower, Look


class Back:
    """One person who was followed up to a keyframe that measured the `pose` [17, 2], and is followed back from there.

    It keeps the pyramids of the gap, which the follower lets go at the keyframe.
    """

    def __init__(self, follower: Follower, pose: np.ndarray, time_s: float) -> None:
        self.record = follower.record(pose, time_s)
        self._follower: Follower | None = follower
        self.pose, self._time_s = pose, time_s
        looks = [look for look in follower.looks if look.time_s <= time_s]
        # Where no picture lies between the keyframes, or none was followed at this one, there is no way.
        self._looks: list[Look] = looks if len(looks) > 2 and looks[-1].time_s == time_s else []
        self._back: list[Look] = []
        if self._looks:
            end = self._looks[-1]
            background = None if end.background is None else -end.background
            self._back.append(replace(end, pose=pose, step=-end.step, background=background))

    def walk(self) -> bool:
        """Go on to the next picture; False at the end."""
        if len(self._back) == len(self._looks):
            return False
        assert self._follower is not None
        look = self._looks[-len(self._back) - 1]
        self._back.append(self._follower.step(self._back[-1], look.time_s, look.view, look.pyramid))
        return True

    @cached_property
    def ways(self) -> Ways | None:
        """The way to the keyframe, and the way back from there; None where there is none."""
        while self.walk():
            pass
        looks, back = self._looks, self._back
        if not looks:
            return None
        inner, start_s = looks[1:-1], looks[0].time_s
        return Ways(
            share=(np.array([look.time_s for look in inner]) - start_s) / (self._time_s - start_s),
            there=np.array([look.pose for look in inner]),
            back=np.array([look.pose for look in back[-2:0:-1]]),
            misses=(self.pose - looks[-1].pose, looks[0].pose - back[-1].pose),
        )

    @cached_property
    def glimpses(self) -> Glimpses | None:
        """What is known of the gap: both ways, blended."""
        if self.ways is None or self._follower is None:
            return None
        poses, sigma = self.ways.blend(self._follower.scale)
        steps = list(range(1, len(self._looks) - 1))
        glimpses = self._follower.glimpses(steps, poses, sigma, WEIGHING.gap_trust, self.record)
        self._looks, self._back, self._follower = [], [], None  # they hold pictures
        return glimpses

"""Follower: one person from a keyframe on, followed from picture to picture, and back through a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mixsynth_stream.pipeline.curve import SAME_TIME_S
from mixsynth_stream.pipeline.frame import Luma
from mixsynth_stream.pipeline.glance.body import body, native
from mixsynth_stream.pipeline.glance.evidence import VELOCITY_S, Glimpses
from mixsynth_stream.pipeline.glance.weigh import WEIGHING, Record, ahead_sigma
from mixsynth_stream.skeleton import CORE_17

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.curve import Curve
    from mixsynth_stream.pipeline.fit import Fit

# The body scale on the finest level of a pyramid, in its pixels: larger ones cost time and follow no better.
_SCALE_PX = 64
_MOST_SHRINK = 64
# Around the joints, in body scales: the limbs' width, one step of motion, and the background that shows the camera's.
_MARGIN = 0.5

# A misfit a picture, in body scales, that says that nothing of the joint was seen.
_BLIND = 0.06
_STILL = np.zeros((len(CORE_17), 2), np.float32)
_NO_PICTURE = Luma(np.zeros((0, 0), np.uint8))

# The error of now, in body scales, grows with the way from the keyframe's pose and with what the points disagree by.
_ERROR_PER_WAY, _ERROR_PER_MISFIT = 0.25, 0.3


class View(NamedTuple):
    """How the picture that people are followed in lies over a stored plane: plane = pose @ turn.T + shift."""

    luma: Luma
    fit: Fit
    turn: np.ndarray  # [2, 2]
    shift: np.ndarray  # [2]
    back: np.ndarray  # [2, 2], the inverse of `turn`
    scale: float  # pixels of the plane a pixel of the picture

    @classmethod
    def of(cls, luma: Luma, fit: Fit) -> View:
        """The view of a frame that lies in the picture by `fit`."""
        # picture -> frame: (p - left_top) / scale; frame -> plane: luma.turn and luma.shift.
        turn = luma.turn / fit.scale
        determinant = turn[0, 0] * turn[1, 1] - turn[0, 1] * turn[1, 0]
        back = np.array([[turn[1, 1], -turn[0, 1]], [-turn[1, 0], turn[0, 0]]]) / determinant
        shift = luma.shift - turn @ np.array([fit.left, fit.top])
        return cls(luma, fit, turn, shift, back, math.sqrt(abs(determinant)))

    def next(self, luma: Luma, fit: Fit) -> View:
        """The view of another frame, which is nearly always like this one."""
        is_same = luma.turn is self.luma.turn and luma.shift is self.luma.shift and fit == self.fit
        return self._replace(luma=luma) if is_same else View.of(luma, fit)

    def without_picture(self) -> View:
        """The same, for those who keep it: a plane is a whole decoded picture."""
        return self._replace(luma=_NO_PICTURE)

    def place(self, points: np.ndarray) -> np.ndarray:  # [17, 2] -> [17, 2]
        """Points of the picture in the plane."""
        return np.asarray(points @ self.turn.T + self.shift)

    def pyramid(self, pose: np.ndarray, scale: float, shrink: int) -> Any:  # _C.Pyramid
        """The pyramid around a pose [17, 2] of the picture; `scale` is the body scale."""
        places = self.place(pose)
        margin = _MARGIN * scale * self.scale
        low, high = np.minimum.reduce(places) - margin, np.maximum.reduce(places) + margin
        box = (int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1)
        return native.Pyramid(self.luma.plane, box, shrink, self.luma.bits)


@dataclass(frozen=True)
class Look:
    """One picture on the way from a keyframe, and the person in it."""

    time_s: float
    pose: np.ndarray  # [17, 2] pixels of the picture that people are followed in
    step: np.ndarray  # [17, 2] from the picture before, in pixels of the plane, float32
    background: np.ndarray | None  # [2] the same of the background; None where there was no picture before
    misfit: np.ndarray  # [17] body scales, the sum since the keyframe
    pyramid: Any  # _C.Pyramid
    view: View


@dataclass(frozen=True)
class Start:
    """One person at a keyframe, in the picture that people are followed in."""

    time_s: float
    pose: np.ndarray  # [17, 2] pixels
    speed: np.ndarray  # [17, 2] pixels a second, as the window expects it
    scale: float  # the body scale, in pixels
    pixels_per_m: float
    curve: Curve | None = None  # what the window expects, which followed poses are compared with at the next keyframe
    record: Record = field(default_factory=Record)  # of the gaps before


class Follower:
    """One person since the newest keyframe, with the pyramids of all pictures since.

    Memory: about 5 bytes a pixel of the shrunk part around the person, 0.2 MB a picture, for as long as a gap lasts.
    """

    def __init__(self, start: Start, view: View) -> None:
        self.start = start
        self.scale = start.scale
        self._shape = view.luma.plane.shape
        self._shrink = min(max(round(self.scale * view.scale / _SCALE_PX), 1), _MOST_SHRINK)
        pyramid = view.pyramid(start.pose, self.scale, self._shrink)
        misfit = np.zeros(len(start.pose))
        self.looks = [Look(start.time_s, start.pose, _STILL, None, misfit, pyramid, view.without_picture())]

    def look(self, time_s: float, view: View) -> None:
        """Follow the person into the next picture."""
        last = self.looks[-1]
        if len(self.looks) == 1:
            step = self.start.speed * (time_s - last.time_s) @ view.turn.T
            # Without `dataclasses.replace`, which takes a while, and each keyframe comes by.
            still, step = last, step.astype(np.float32)
            last = Look(still.time_s, still.pose, step, None, still.misfit, still.pyramid, still.view)
        pyramid = view.pyramid(last.pose, self.scale, self._shrink)
        self.looks.append(self.step(last, time_s, view, pyramid))

    def step(self, last: Look, time_s: float, view: View, pyramid: Any) -> Look:
        """Follow the person from one picture into another one, of which there is a pyramid."""
        scale = self.scale * view.scale
        pose = view.place(last.pose).astype(np.float32)
        _, step, evidence, background = body().follow(last.pyramid, pyramid, pose, last.step, scale, last.background)
        moved = last.pose + step.astype(np.float64) @ view.back.T
        misfit = last.misfit + evidence[:, 1]
        return Look(time_s, moved, step, background, misfit, pyramid, view.without_picture())

    def fits(self, view: View) -> bool:
        """Whether pictures of this view can be compared with the last one: the plane has the same size."""
        last = self.looks[-1].view
        if self._shape != view.luma.plane.shape:
            return False
        return last.turn is view.turn or bool(np.array_equal(last.turn, view.turn))

    def ahead(self, *, newest_only: bool = True) -> Glimpses | None:
        """What is known after the keyframe, without a later one."""
        steps, newest = list(range(1, len(self.looks))), len(self.looks) - 1
        if not steps:
            return None
        if newest_only and newest > 2:
            # The newest says where the person is, and one shortly before how fast the correction grows.
            since_s = self.looks[-1].time_s - VELOCITY_S - SAME_TIME_S
            before = next(step for step in steps if self.looks[step].time_s >= since_s)
            steps = [newest] if before == newest else [before, newest]
        looks = [self.looks[step] for step in steps]
        elapsed_s = np.array([look.time_s for look in looks]) - self.looks[0].time_s
        misfit = np.array([look.misfit for look in looks])
        sigma = ahead_sigma(elapsed_s, misfit, self.scale)
        poses = np.array([look.pose for look in looks])
        return self.glimpses(steps, poses, sigma, WEIGHING.trust, self.start.record)

    def error(self) -> float:
        """How far off the pose of now is expected to be beyond the estimator's own error, in body scales."""
        last = self.looks[-1]
        moved = last.pose - self.looks[0].pose
        # Sums, because numpy's `norm` and `mean` take longer than all the rest.
        way = float(np.add.reduce(np.sqrt(np.add.reduce(moved * moved, axis=1)))) / len(moved) / self.scale
        return _ERROR_PER_WAY * way + _ERROR_PER_MISFIT * float(np.add.reduce(last.misfit)) / len(moved)

    def record(self, pose: np.ndarray, time_s: float) -> Record:
        """How followed poses did up to a keyframe at `time_s` that measured `pose` [17, 2], this gap included."""
        look = next((look for look in self.looks[1:] if look.time_s == time_s), None)
        start = self.start
        if look is None or start.curve is None:
            return start.record
        missed = pose - start.curve.at([time_s]).poses[0, start.curve.space.core]
        known = np.isfinite(missed).all(axis=1)
        return start.record.after(missed[known], (pose - look.pose)[known], self.scale) if known.any() else start.record

    def glimpses(
        self, steps: list[int], poses: np.ndarray, sigma: np.ndarray, trust: float, record: Record
    ) -> Glimpses:
        """Of the pictures number `steps` since the keyframe, at which the person stands at `poses`."""
        looks = [self.looks[step] for step in steps]
        times = np.array([look.time_s for look in looks])
        followed = np.array([look.misfit for look in looks]) < _BLIND * np.array(steps)[:, None]
        since_s, pixels_per_m = self.looks[0].time_s, self.start.pixels_per_m
        return Glimpses(times, poses, sigma, trust, record.worth, self.scale, followed, since_s, pixels_per_m)

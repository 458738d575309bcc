"""Simple: what methods that need no learning forecast from the keyframes of one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mixsynth_stream.pipeline.curve import SAME_TIME_S, Curve, WindowPoses
from mixsynth_stream.pipeline.motion import Origin, Person

HOLD, CONSTANT_VELOCITY, KALMAN = SIMPLE = ("hold", "constant_velocity", "kalman")
# The variance of a measurement over what the cube of a gap in seconds gains: with keyframes every 10 or 15 steps the
# filter that does best on motion capture (TUNED in evaluate/baselines.py has 0.3).
_KALMAN_NOISE = 0.3
_UNKNOWN = 1e6
# Plain numbers, because numpy takes long to look at members of an enumeration.
_FORECAST, _HELD = np.uint8(Origin.FORECAST), np.uint8(Origin.HELD)
# Where the joints of each space stand in `joints_of`.
_COLUMNS = {"image": slice(0, 2), "world": slice(2, 5)}


def joints_of(person: Person) -> np.ndarray:  # [J, 5] pixels and metres
    """A person's joints in both spaces, side by side: simple methods treat all numbers alike."""
    return np.concatenate([person.pose, person.world], axis=1)


@dataclass(frozen=True)
class Simple:
    """One person at one keyframe, in any space or several: what each method of `SIMPLE` needs to go on from there."""

    time_s: float
    pose: np.ndarray  # [J, D] as measured
    velocity: np.ndarray  # [J, D] a second, since the keyframe before; zero at the first
    state: np.ndarray  # [2, J, D] position and velocity of the Kalman filter
    covariance: np.ndarray  # [2, 2] of the filter, the same for all numbers

    @classmethod
    def first(cls, time_s: float, pose: np.ndarray) -> Simple:  # [J, D]
        """The first keyframe of somebody."""
        still = np.zeros_like(pose)
        return cls(time_s, pose, still, np.stack([pose, still]), np.diag([0.0, _UNKNOWN]))

    def after(self, time_s: float, pose: np.ndarray) -> Simple:  # [J, D]
        """One more keyframe, at a later time: the velocity since this one, and a step of the filter."""
        gap_s = time_s - self.time_s
        move = np.array([[1.0, gap_s], [0.0, 1.0]])
        # Of a constant velocity that white noise of unit strength disturbs.
        disturbance = np.array([[gap_s**3 / 3, gap_s**2 / 2], [gap_s**2 / 2, gap_s]])
        state = np.einsum("ij,jkd->ikd", move, self.state)
        covariance = move @ self.covariance @ move.T + disturbance
        gain = covariance[:, 0] / (covariance[0, 0] + _KALMAN_NOISE * gap_s**3)
        state = state + gain[:, None, None] * (pose - state[0])
        # Of a joint that is seen again.
        state = np.where(np.isfinite(state), state, np.stack([pose, np.zeros_like(pose)]))
        covariance = covariance - np.outer(gain, covariance[0])
        return Simple(time_s, pose, (pose - self.pose) / gap_s, state, covariance)

    def at(self, method: str, times_s: Sequence[float] | np.ndarray) -> np.ndarray:  # [M] seconds -> [M, J, D]
        """The poses of a method of `SIMPLE` at later times."""
        ahead_s = (np.asarray(times_s, np.float64) - self.time_s)[:, None, None]
        if method == KALMAN:
            return np.asarray(self.state[0] + ahead_s * self.state[1])
        return np.asarray(self.pose + ahead_s * (self.velocity if method == CONSTANT_VELOCITY else 0.0))

    def each_at(self, time_s: float) -> np.ndarray:  # [3, J, D], of `SIMPLE`
        """The pose of each method at one later time."""
        ahead_s = time_s - self.time_s
        return np.array([self.pose, self.pose + ahead_s * self.velocity, self.state[0] + ahead_s * self.state[1]])


@dataclass(frozen=True)
class SimpleCurve(Curve):
    """A curve that a simple method continues past its newest keyframe, instead of the network."""

    simple: Simple | None = None
    method: str = HOLD

    @classmethod
    def of(cls, curve: Curve, simple: Simple, method: str) -> SimpleCurve:
        """The same curve, continued by a method from the joints of `joints_of` at its newest keyframe."""
        return cls(**{field.name: getattr(curve, field.name) for field in fields(Curve)}, simple=simple, method=method)

    def at(self, times_s: Sequence[float] | np.ndarray) -> WindowPoses:
        """Poses at M seconds, those past the newest keyframe by the method."""
        poses, times = super().at(times_s), np.asarray(times_s, np.float64)
        late = times > self.slots.time_s[-1] + SAME_TIME_S
        if self.simple is not None and late.any():
            ahead = self.simple.at(self.method, times[late])[..., _COLUMNS[self.space.name]]
            own = poses.poses[late, : ahead.shape[1]]
            poses.poses[late, : ahead.shape[1]] = np.where(np.isfinite(ahead) & np.isfinite(own), ahead, own)
        if self.method == HOLD:
            poses.origin[poses.origin == _FORECAST] = _HELD
        return poses

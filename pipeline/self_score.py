"""SelfScore: how well a stream's forecasts came true, and those of simple methods from the same keyframes."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.normalise import distance_in_scales
from mixsynth_stream.pipeline.people import Scene
from mixsynth_stream.spaces import SPACES

NETWORK = "network"
SIMPLE = ("hold", "constant_velocity", "kalman")
METHODS = (NETWORK, *SIMPLE)
# Forecasts are judged by how far ahead they were, up to these seconds.
HORIZONS_S = (0.1, 0.2, 0.4, 0.8)
_WINDOW_S = 60.0
# A method is better than another one only over so many forecasts.
_LEAST_COUNT = 30
_CORE = SPACES["image"].core
# The variance of a measurement over what the cube of a gap in seconds gains: with keyframes every 10 or 15 steps the
# filter that does best on motion capture (TUNED in evaluate/baselines.py has 0.3).
_KALMAN_NOISE = 0.3
_UNKNOWN = 1e6


@dataclass
class _Past:
    """What was known of one person at one keyframe."""

    time_s: float
    pose: np.ndarray  # [17, 2] pixels, as measured
    velocity: np.ndarray  # [17, 2] pixels a second since the keyframe before; zero at the first
    state: np.ndarray  # [2, 17, 2] position and velocity of the filter
    covariance: np.ndarray  # [2, 2]
    scene: Scene  # as the network had it

    def ahead(self, person_id: int, time_s: float) -> dict[str, np.ndarray]:
        """The pose [17, 2] of each method at a later time. The network is left out where it does not know one."""
        step_s = time_s - self.time_s
        poses = {
            "hold": self.pose,
            "constant_velocity": self.pose + step_s * self.velocity,
            "kalman": self.state[0] + step_s * self.state[1],
        }
        track = next((track for track in self.scene.tracks if track.id == person_id), None)
        # Only one pose of one person is read: the whole scene would take four times as long.
        return poses | ({} if track is None else {NETWORK: track.curves[0].at([time_s]).poses[0][_CORE]})


class SelfScore:
    """Errors of forecasts in body scales, over the last minute, by method and by how far ahead they were.

    Each keyframe is compared with what was forecast for its time at earlier ones, the first within each horizon.
    """

    def __init__(self) -> None:
        self._errors: deque[tuple[float, int, np.ndarray]] = deque()  # when, which horizon, [4] by method
        self._sums = np.zeros((len(HORIZONS_S), len(METHODS)))
        self._counts = np.zeros(len(HORIZONS_S), int)
        self._past: dict[int, deque[_Past]] = {}

    def keyframe(self, time_s: float, people: Mapping[int, np.ndarray], scene: Scene) -> None:
        """Take the measured poses [17, 2] of everybody who was seen, by id, and the scene that follows from them."""
        while self._errors and self._errors[0][0] < time_s - _WINDOW_S:
            _, horizon, errors = self._errors.popleft()
            self._count(horizon, -errors, -1)
        self._past = {person_id: past for person_id, past in self._past.items() if person_id in people}
        for person_id, pose in people.items():
            past = self._past.setdefault(person_id, deque())
            while past and past[0].time_s < time_s - HORIZONS_S[-1]:
                past.popleft()
            for before in {_horizon(time_s - before.time_s): before for before in reversed(past)}.values():
                self._judge(before, person_id, pose, time_s)
            past.append(_followed(past[-1] if past else None, time_s, pose, scene))

    def _judge(self, before: _Past, person_id: int, pose: np.ndarray, time_s: float) -> None:
        horizon = _horizon(time_s - before.time_s)
        poses = before.ahead(person_id, time_s)
        if horizon == len(HORIZONS_S) or NETWORK not in poses:
            return
        errors = np.array([distance_in_scales(poses[method], pose, min_scale=1.0) for method in METHODS])
        if np.isfinite(errors).all():
            self._errors.append((time_s, horizon, errors))
            self._count(horizon, errors, 1)

    def _count(self, horizon: int, errors: np.ndarray, number: int) -> None:
        self._sums[horizon] += errors
        self._counts[horizon] += number

    def errors(self) -> dict[float, dict[str, float]]:
        """For each horizon that was seen, the mean error of each method in body scales."""
        return {
            horizon_s: dict(zip(METHODS, (self._sums[k] / self._counts[k]).tolist(), strict=True))
            for k, horizon_s in enumerate(HORIZONS_S)
            if self._counts[k]
        }

    def better(self) -> str | None:
        """The simple method whose mean error over all horizons is below the network's, if there is one."""
        if self._counts.sum() < _LEAST_COUNT:
            return None
        sums = dict(zip(METHODS, self._sums.sum(axis=0), strict=True))
        best = min(SIMPLE, key=lambda method: sums[method])
        return best if sums[best] < sums[NETWORK] else None

    def ratio(self) -> float | None:
        """The network's error over that of the best simple method, over all horizons; None before anything was seen."""
        sums = dict(zip(METHODS, self._sums.sum(axis=0), strict=True))
        return sums[NETWORK] / max(min(sums[method] for method in SIMPLE), 1e-9) if self._counts.any() else None

    def __str__(self) -> str:
        """The network's error over that of the best simple method, by horizon; empty where nothing came true yet."""
        parts = [
            f"{row[NETWORK] / max(min(row[method] for method in SIMPLE), 1e-9):.2f} to {1e3 * horizon_s:.0f} ms"
            for horizon_s, row in self.errors().items()
        ]
        better = self.better()
        verdict = "" if better is None else f" ({better.replace('_', ' ')} did better)"
        return f"forecast error over the best simple method's {', '.join(parts)}{verdict}" if parts else ""


def _horizon(ahead_s: float) -> int:
    """Which horizon a forecast so far ahead counts to."""
    return bisect_left(HORIZONS_S, ahead_s - 1e-6)


def _followed(before: _Past | None, time_s: float, pose: np.ndarray, scene: Scene) -> _Past:
    """One more keyframe of a person: the velocity since the last one, and a step of the filter."""
    if before is None:
        state, covariance = np.stack([pose, np.zeros_like(pose)]), np.diag([0.0, _UNKNOWN])
        return _Past(time_s, pose, np.zeros_like(pose), state, covariance, scene)
    gap_s = time_s - before.time_s
    move = np.array([[1.0, gap_s], [0.0, 1.0]])
    # Of a constant velocity that white noise of unit strength disturbs.
    disturbance = np.array([[gap_s**3 / 3, gap_s**2 / 2], [gap_s**2 / 2, gap_s]])
    state = np.einsum("ij,jkd->ikd", move, before.state)
    covariance = move @ before.covariance @ move.T + disturbance
    gain = covariance[:, 0] / (covariance[0, 0] + _KALMAN_NOISE * gap_s**3)
    state = state + gain[:, None, None] * (pose - state[0])
    state = np.where(np.isfinite(state), state, np.stack([pose, np.zeros_like(pose)]))  # of a joint that is seen again
    covariance = covariance - np.outer(gain, covariance[0])
    return _Past(time_s, pose, (pose - before.pose) / gap_s, state, covariance, scene)

"""SelfScore: how well a stream's forecasts came true, and those of simple methods from the same keyframes."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixsynth_stream.normalise import distances_in_scales
from mixsynth_stream.pipeline.forecast.simple import SIMPLE, Simple, SimpleCurve, joints_of
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.people import Scene
from mixsynth_stream.spaces import space_of

NETWORK = "network"
METHODS = (NETWORK, *SIMPLE)
# Forecasts are judged by how far ahead they were, up to these seconds.
HORIZONS_S = (0.1, 0.2, 0.4, 0.8)
_WINDOW_S = 60.0
# A method is better than another one only over so many forecasts.
_LEAST_COUNT = 30
# A method takes over where its error is below this share of that of the one in use, over at least so many seconds.
_CLEARLY, _LEAST_S = 0.95, 10.0


@dataclass(frozen=True)
class _Past:
    """What was known of one person at one keyframe."""

    simple: Simple
    scene: Scene  # as the network had it

    def ahead(self, person_id: int, time_s: float) -> np.ndarray | None:  # [4, 17, 2], of `METHODS`
        """The pose of each method at a later time; None where the network does not know one."""
        track = next((track for track in self.scene.tracks if track.id == person_id), None)
        if track is None:
            return None
        # Only one pose of one person is read: the whole scene would take four times as long.
        space = space_of("image", self.scene.skeleton)
        network = space.core_of(track.curves[0].at([time_s]).poses)
        return np.concatenate([network, space.core_of(self.simple.each_at(time_s)[..., :2])])


class SelfScore:
    """Errors of forecasts in body scales, over the last minute, by method and by how far ahead they were.

    Each keyframe is compared with what was forecast for its time at earlier ones, the first within each horizon.
    `method` is the one to forecast with: where the score `acts`, a simple one takes over that was clearly better than
    the network, and the network is back when it is as good.
    """

    def __init__(self, *, acts: bool = False) -> None:
        self.method = NETWORK
        self._acts = acts
        self._errors: deque[tuple[float, int, np.ndarray]] = deque()  # when, which horizon, [4] by method
        self._sums = np.zeros((len(HORIZONS_S), len(METHODS)))
        self._counts = np.zeros(len(HORIZONS_S), int)
        self._past: dict[int, deque[_Past]] = {}
        self._newest: tuple[float, Mapping[int, Person], Scene] | None = None  # a keyframe that is not judged yet

    def take(self, time_s: float, people: Mapping[int, Person], scene: Scene) -> None:
        """Take what `keyframe` takes, for `judge`: it may come when there is time, but before the next keyframe.

        Where a simple method forecasts, which goes on from this keyframe, it is judged at once.
        """
        self.judge()
        self._newest = time_s, people, scene
        if not self.is_by_network:
            self.judge()

    def judge(self) -> None:
        """Judge the keyframe that was taken, unless it is judged. A method that takes over does at the next one."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self.keyframe(*newest)

    def keyframe(self, time_s: float, people: Mapping[int, Person], scene: Scene) -> None:
        """Take everybody who was seen, by id, and the scene that follows from them."""
        while self._errors and self._errors[0][0] < time_s - _WINDOW_S:
            _, horizon, errors = self._errors.popleft()
            self._count(horizon, -errors, -1)
        self._past = {person_id: past for person_id, past in self._past.items() if person_id in people}
        space = space_of("image", scene.skeleton)
        for person_id, person in people.items():
            past = self._past.setdefault(person_id, deque())
            while past and past[0].simple.time_s < time_s - HORIZONS_S[-1]:
                past.popleft()
            nearest = {_horizon(time_s - before.simple.time_s): before for before in reversed(past)}
            self._judge(nearest, person_id, space.core_of(person.pose), time_s)
            joints = joints_of(person)
            past.append(_Past(past[-1].simple.after(time_s, joints) if past else Simple.first(time_s, joints), scene))
        if self._acts:
            self.method = self._choice(time_s)

    @property
    def is_by_network(self) -> bool:
        """Whether the network forecasts now."""
        return self.method == NETWORK

    def in_use(self, scene: Scene) -> Scene:
        """The scene after the newest keyframe, with the forecasts of the method in use for those whom it saw."""
        if self.is_by_network:
            return scene
        tracks = []
        for track in scene.tracks:
            if past := self._past.get(track.id):
                curves = tuple(SimpleCurve.of(curve, past[-1].simple, self.method) for curve in track.curves)
                track = replace(track, curves=curves)
            tracks.append(track)
        return replace(scene, tracks=tuple(tracks))

    def _choice(self, time_s: float) -> str:
        """The method for the time to come. One that is in use stays so until it is not the better one any more."""
        if not self._errors or time_s - self._errors[0][0] < _LEAST_S:
            return self.method if self._errors else NETWORK
        sums = dict(zip(METHODS, self._sums.sum(axis=0).tolist(), strict=True))
        best = min(SIMPLE, key=lambda method: sums[method])
        if self.method != NETWORK and sums[best] >= sums[NETWORK]:
            return NETWORK
        return best if sums[best] < _CLEARLY * sums[self.method] else self.method

    def _judge(self, nearest: Mapping[int, _Past], person_id: int, pose: np.ndarray, time_s: float) -> None:
        """Compare the `pose` [17, 2] with what was forecast for it, by horizon."""
        forecasts = {
            horizon: poses
            for horizon, before in nearest.items()
            if horizon < len(HORIZONS_S) and (poses := before.ahead(person_id, time_s)) is not None
        }
        if not forecasts:
            return
        rows = distances_in_scales(np.array(list(forecasts.values())), pose, min_scale=1.0)
        for horizon, errors in zip(forecasts, rows, strict=True):
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
        if not self.is_by_network:
            verdict = f" ({self.method.replace('_', ' ')} did better and forecasts now)"
        return f"forecast error over the best simple method's {', '.join(parts)}{verdict}" if parts else ""


def _horizon(ahead_s: float) -> int:
    """Which horizon a forecast so far ahead counts to."""
    return bisect_left(HORIZONS_S, ahead_s - 1e-6)

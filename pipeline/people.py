"""Who is who: people matched between keyframes by predicted pose, a window for each of their spaces.

Rotations (SMPL) do not say where somebody is: there the estimator has to know who it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.curve import Curve
from mixsynth_stream.pipeline.motion import Origin, Person
from mixsynth_stream.pipeline.window import MotionWindow, push_all
from mixsynth_stream.skeleton import CORE_FROM_BLAZEPOSE
from mixsynth_stream.spaces import SPACES, scale_floor

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model

_CORE = list(CORE_FROM_BLAZEPOSE)
# A detection belongs to a track when its joints lie, on average, within this many body scales of the prediction.
# A walker's forecast over 333 ms is off by 0.1-0.4; two people side by side are 1-3 apart.
_GATE = 1.0
# What the gate gains per second without a sighting, and for a track seen only once, whose speed is not known.
_GATE_PER_S = 1.0
_GATE_UNKNOWN_SPEED = 1.0


@dataclass(frozen=True)
class TrackView:
    """One person as known after a keyframe."""

    id: int
    curves: tuple[Curve, ...]  # one for each space of the scene
    until_s: float  # after this time without a sighting the person counts as gone


@dataclass(frozen=True)
class ScenePoses:
    """Everybody at M times. A person of whom nothing is known at any of them is absent.

    J is 33, and 24 where the space is rotation; then poses and world are NaN.
    """

    ids: np.ndarray  # [P] int64
    poses: np.ndarray  # [P, M, J, 2] pixels
    world: np.ndarray  # [P, M, J, 3] metres
    scores: np.ndarray  # [P, M, J]
    origin: np.ndarray  # [P, M, J] Origin values, uint8
    sigma: np.ndarray | None = None  # [P, M, J] pixels; None: the weights carry no uncertainty table
    world_sigma: np.ndarray | None = None  # [P, M, J] metres
    rotations: np.ndarray | None = None  # [P, M, J, 6]


@dataclass(frozen=True)
class Scene:
    """Everybody as known after one keyframe: immutable, and a function of time like each person's curve."""

    tracks: tuple[TrackView, ...] = ()
    spaces: tuple[str, ...] = ("image", "world")
    has_sigma: tuple[bool, ...] = (False, False)  # whether the weights of each space carry an uncertainty table

    def at(self, times_s: Sequence[float] | np.ndarray) -> ScenePoses:
        """Poses at M seconds of all people who are known at one of them at least."""
        times = np.asarray(times_s, dtype=np.float64)
        ids, scores, origins = [], [], []
        poses: tuple[list[np.ndarray], ...] = tuple([] for _ in self.spaces)
        sigmas: tuple[list[np.ndarray], ...] = tuple([] for _ in self.spaces)
        for track in self.tracks:
            parts = [curve.at(times) for curve in track.curves]
            origin = np.where((times > track.until_s)[:, None], np.uint8(Origin.MISSING), parts[0].origin)
            missing = origin == Origin.MISSING
            if missing.all():
                continue
            ids.append(track.id)
            scores.append(np.where(missing, 0.0, parts[0].scores))
            origins.append(origin)
            for part, pose, sigma in zip(parts, poses, sigmas, strict=True):
                pose.append(np.where(missing[..., None], np.nan, part.poses))
                if part.sigma is not None:
                    sigma.append(np.where(missing, np.nan, part.sigma))
        rows = (len(ids), len(times), len(SPACES[self.spaces[0]].skeleton))
        known = {space: np.array(pose).reshape(*rows, SPACES[space].dims)
                 for space, pose in zip(self.spaces, poses, strict=True)}  # fmt: skip
        sigma_of = {space: np.array(sigma).reshape(rows)
                    for space, sigma, has in zip(self.spaces, sigmas, self.has_sigma, strict=True) if has}  # fmt: skip
        return ScenePoses(
            np.array(ids, np.int64),
            known["image"] if "image" in known else np.full((*rows, 2), np.nan),
            known["world"] if "world" in known else np.full((*rows, 3), np.nan),
            np.array(scores).reshape(rows),
            np.array(origins, np.uint8).reshape(rows),
            sigma_of.get("image"),
            sigma_of.get("world"),
            known.get("rotation"),
        )


class _Track:
    def __init__(self, track_id: int, models: tuple[Model, ...], frame_height: int) -> None:
        self.id = track_id
        self.windows = [MotionWindow(model, min_scale=scale_floor(model.info.space, frame_height)) for model in models]
        self.sightings = 0
        self.last_seen_s = -np.inf

    def seen(self, time_s: float) -> None:
        self.sightings += 1
        self.last_seen_s = time_s

    def distance(self, person: Person, time_s: float) -> float:
        """Mean joint distance between the prediction and a detection in body scales; infinite outside the gate.

        Where the estimator knows who it is, that decides.
        """
        if person.id is not None:
            return 0.0 if person.id == self.id else np.inf
        image = self.windows[0]
        predicted = image.at([time_s]).poses[0][_CORE]
        found = person.pose[_CORE]
        both = np.isfinite(predicted).all(axis=1) & np.isfinite(found).all(axis=1)
        if not both.any():
            return np.inf
        scales = [float(scale_of(pose)) for pose in (predicted, found) if np.isfinite(pose).all()]
        scale = max([image.min_scale, *scales, 1e-6])
        distance = float(np.linalg.norm(predicted - found, axis=1)[both].mean()) / scale
        gate = _GATE + _GATE_PER_S * (time_s - self.last_seen_s) + (_GATE_UNKNOWN_SPEED if self.sightings < 2 else 0)
        return distance if distance <= gate else np.inf


class People:
    """The tracks of a stream. `observe` takes the detections of a keyframe and returns the Scene they lead to."""

    def __init__(self, models: tuple[Model, ...], *, max_people: int, max_silence_s: float = 1.0) -> None:
        self._models = models
        self._max_people = max_people
        self._max_silence_s = max_silence_s
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids go on counting."""
        self._tracks: list[_Track] = []
        self._next_id = getattr(self, "_next_id", 0)
        self._last_keyframe_s = -np.inf

    def nobody(self) -> Scene:
        """What is known before the first keyframe."""
        return Scene(
            (),
            tuple(model.info.space for model in self._models),
            tuple(model.sigma_table is not None for model in self._models),
        )

    def observe(self, detections: Sequence[Person], time_s: float, frame_height: float) -> Scene:
        """Match detections to tracks, push everybody's keyframe, start and end tracks."""
        known = list(self._tracks)
        self._tracks = [track for track in self._tracks if not self._is_gone(track, time_s)]
        matches = self._match(detections, time_s)
        keyframes = [(track, matches.get(track.id)) for track in self._tracks]
        for track, match in keyframes:
            if match is not None:
                track.seen(time_s)
        matched = {id(person) for person in matches.values()}
        for person in detections:
            pose = person.in_space(self._models[0].info.space)
            if id(person) not in matched and pose is not None and np.isfinite(pose).all(axis=1).any():
                keyframes += [(track, person) for track in self._start(person, time_s, frame_height)]
        self._last_keyframe_s = time_s
        _push(keyframes, time_s)
        ended = [track for track in known if track not in self._tracks]
        return self._scene(time_s, ended)

    def _is_gone(self, track: _Track, time_s: float) -> bool:
        # Seen at the previous keyframe means no silence, however slow the source is.
        silent = track.last_seen_s < self._last_keyframe_s
        return silent and time_s > self._believed_until_s(track)

    def _believed_until_s(self, track: _Track) -> float:
        # Somebody seen once only may never have been there: estimators invent people for a frame.
        return track.last_seen_s + (self._max_silence_s if track.sightings > 1 else 0.0)

    def _match(self, detections: Sequence[Person], time_s: float) -> dict[int, Person]:
        """Closest pairs first: track id -> detection."""
        pairs = [
            (track.distance(person, time_s), t, p)
            for t, track in enumerate(self._tracks)
            for p, person in enumerate(detections)
        ]
        matches: dict[int, Person] = {}
        taken: set[int] = set()
        for distance, t, p in sorted(pairs):
            if np.isfinite(distance) and self._tracks[t].id not in matches and p not in taken:
                matches[self._tracks[t].id] = detections[p]
                taken.add(p)
        return matches

    def _start(self, person: Person, time_s: float, frame_height: float) -> list[_Track]:
        """The track that begins, if any; where all places are taken, the one that was silent longest yields."""
        if len(self._tracks) >= self._max_people:
            silent = [track for track in self._tracks if track.last_seen_s < time_s]
            if not silent:
                return []
            self._tracks.remove(min(silent, key=lambda track: track.last_seen_s))
        track = _Track(self._next_id if person.id is None else person.id, self._models, frame_height)
        track.seen(time_s)
        self._tracks.append(track)
        self._next_id += 1
        return [track]

    def _scene(self, time_s: float, ended: Sequence[_Track]) -> Scene:
        """The tracks as known at a keyframe. Those that ended since the one before still count in the gap between."""
        views = []
        for track in sorted([*self._tracks, *ended], key=lambda track: track.id):
            until_s = np.inf if track.last_seen_s == time_s else self._believed_until_s(track)
            if track in ended:
                until_s = min(until_s, np.nextafter(time_s, -np.inf))
            curves = tuple(window.curve for window in track.windows if window.curve is not None)
            if len(curves) == len(track.windows):
                views.append(TrackView(track.id, curves, float(until_s)))
        return replace(self.nobody(), tracks=tuple(views))


def _push(keyframes: Sequence[tuple[_Track, Person | None]], time_s: float) -> None:
    """Everybody's keyframe into all their windows, in one call of each network."""
    pushed = [(window, person) for track, person in keyframes for window in track.windows]
    push_all(
        [window for window, _ in pushed],
        [None if person is None else person.in_space(window.space.name) for window, person in pushed],
        [None if person is None else person.scores for _, person in pushed],
        [time_s] * len(pushed),
    )

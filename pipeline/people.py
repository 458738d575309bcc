"""People: who is who. Detections are matched to tracks by predicted pose; a track has a window for each space.

Rotations (SMPL) do not say where somebody is: their estimator has to say who it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.normalise import distance_in_scales, whole_pose
from mixsynth_stream.pipeline.course import Seen, Shifts
from mixsynth_stream.pipeline.curve import Curve
from mixsynth_stream.pipeline.forecast.correction import Correction
from mixsynth_stream.pipeline.glance.evidence import Glimpses
from mixsynth_stream.pipeline.motion import SPACE_ARRAYS, Origin, Person, Poses
from mixsynth_stream.pipeline.steps import Keyframes, Steps, completed
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.skeleton import BLAZEPOSE_33, SKELETONS, Skeleton
from mixsynth_stream.spaces import LANDMARK_SPACES, SPACES, scale_floor, space_of

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.glance.back import Back
    from mixsynth_stream.weights import Model

# Plain numbers, because numpy takes long to look at members of an enumeration.
_MISSING, _HELD = np.uint8(Origin.MISSING), np.uint8(Origin.HELD)
# A detection belongs to a track when its joints lie, on average, within this many body scales of the prediction.
# A walker's forecast over 333 ms is off by 0.1-0.4; two people side by side are 1-3 apart.
_REACH = 1.0
# The reach grows by these: for each second without a sighting, up to so many seconds, and for a track seen only once
# (its speed is not known).
_REACH_PER_S, _GROWS_FOR_S = 1.0, 2.0
_REACH_UNKNOWN_SPEED = 1.0
# Where a track was not seen at the last keyframe, its prediction counts as so much further off: about as much as a
# forecast errs. So who comes out from behind somebody does not take that person's id.
_SILENT = 0.4
# Nobody goes on across a longer time in which no estimator looked, unless keyframes always lie nearly so far apart.
_LONGEST_GAP_S, _OF_LAST_GAP = 5.0, 3.0
# Estimators invent people for a frame, over somebody who is there. On real clips such doubles lie within 0.95 body
# scales of that person, and different people, when first seen, 1.5 or more apart.
_DOUBLE = 1.2


@dataclass(frozen=True)
class TrackCurves:
    """One track as known after a keyframe: a curve for each space in which the person was ever seen, image first."""

    id: int
    curves: tuple[Curve, ...]
    until_s: float  # after this time the person counts as gone
    glimpses: Glimpses | None = None  # what glances saw of the person between keyframes

    def at(self, times: np.ndarray) -> dict[str, np.ndarray]:  # [M] seconds -> arrays of `Poses` [M, ...]
        """The arrays of `Poses` that the curves give, MISSING after `until_s`."""
        if self.glimpses is None:
            by_space = [curve.at(times) for curve in self.curves]
        else:
            by_space = self.glimpses.at(self.curves, times)
        joints = self.curves[0].space.joints
        by_space = [poses.first(joints) for poses in by_space]
        origin, late = by_space[0].origin, times > self.until_s
        if late.any():
            origin = np.where(late[:, None], _MISSING, origin)
        missing = None if origin.all() else origin == _MISSING  # None: nothing is missing
        arrays = {"scores": _with(by_space[0].scores, missing, 0.0), "origin": origin}
        newest_s = self.curves[0].sightings[-1][0]
        for curve, window_poses in zip(self.curves, by_space, strict=True):
            poses, sigma = SPACE_ARRAYS[curve.space.name]
            unknown = missing
            if curve.sightings[-1][0] < newest_s:
                # Not seen in this space lately: a pose that is only held would pass for one that is known.
                held = window_poses.origin == _HELD
                unknown = held if missing is None else missing | held
            arrays[poses] = _with(window_poses.poses, unknown, np.nan)
            if sigma is not None and window_poses.sigma is not None:
                arrays[sigma] = _with(window_poses.sigma, unknown, np.nan)
        return arrays


def _with(values: np.ndarray, missing: np.ndarray | None, value: float) -> np.ndarray:  # [M, J, ...], [M, J] bool
    """The values, with `value` where a joint is missing."""
    if missing is None:
        return values
    return np.where(missing if values.ndim == missing.ndim else missing[..., None], value, values)


@dataclass(frozen=True)
class ScenePoses(Poses):
    """Everybody at M times: arrays are [P, M, ...]. A person who is not known at any of these times is absent."""

    ids: np.ndarray  # [P] int64


@dataclass(frozen=True)
class Scene:
    """Everybody as known after one keyframe: a function of time, and immutable, like each person's curves."""

    tracks: tuple[TrackCurves, ...] = ()
    spaces: tuple[str, ...] = LANDMARK_SPACES
    has_sigma: tuple[bool, ...] = (False, False)  # whether the weights of each space carry an uncertainty table
    correction: Correction | None = None  # of what is shown live
    skeleton: Skeleton = BLAZEPOSE_33  # of the poses

    def shown(self, times_s: Sequence[float] | np.ndarray, known: ScenePoses | None = None) -> ScenePoses:
        """Poses as `at` gives them (`known`, where somebody has them), where a new keyframe makes none jump."""
        poses = self.at(times_s) if known is None else known
        return poses if self.correction is None else self.correction.added_to(poses, np.asarray(times_s, np.float64))

    def at(self, times_s: Sequence[float] | np.ndarray) -> ScenePoses:
        """Poses at M seconds of all people who are known at one of these times at least."""
        times = np.asarray(times_s, dtype=np.float64)
        tracks = [(track.id, track.at(times)) for track in self.tracks]
        rows = [(track, arrays) for track, arrays in tracks if arrays["origin"].any()]  # MISSING is 0
        # A space that the scene does not have is NaN. Where nobody is known the shapes are still those of a scene.
        missing = _missing_arrays(self.spaces, self.has_sigma, len(times), len(self.skeleton))
        ids = np.array([track for track, _ in rows], np.int64)
        if len(rows) == 1 and len(rows[0][1]) == len(missing):  # as nearly always, and the arrays are nobody else's
            return ScenePoses(ids=ids, **{name: values[None] for name, values in rows[0][1].items()})
        return ScenePoses(
            ids=ids,
            **{
                name: np.array([arrays.get(name, values) for _, arrays in rows], values.dtype).reshape(
                    len(rows), *values.shape
                )
                for name, values in missing.items()
            },
        )


@lru_cache(maxsize=64)
def _missing_arrays(
    spaces: tuple[str, ...], has_sigma: tuple[bool, ...], times: int, joints: int
) -> dict[str, np.ndarray]:  # [M, J, ...]
    """The arrays of a scene's `Poses`, for somebody who is not known at any time."""
    arrays = {
        "poses": np.full((times, joints, 2), np.nan),
        "world": np.full((times, joints, 3), np.nan),
        "scores": np.zeros((times, joints)),
        "origin": np.zeros((times, joints), np.uint8),
    }
    for space, its_sigma in zip(spaces, has_sigma, strict=True):
        poses, sigma = SPACE_ARRAYS[space]
        arrays[poses] = np.full((times, joints, SPACES[space].dims), np.nan)
        if its_sigma and sigma is not None:
            arrays[sigma] = np.full((times, joints), np.nan)
    for values in arrays.values():
        values.setflags(write=False)  # calls share them
    return arrays


class _Track:
    """One person over the keyframes: a window for each space, and when the person was last seen."""

    def __init__(
        self, track_id: int, models: tuple[Model, ...], skeleton: Skeleton, frame_height: float, *, doubtful: bool
    ) -> None:
        self.id = track_id
        self.doubtful = doubtful  # whether the person may be another one seen twice
        self.windows = [
            MotionWindow(model, min_scale=scale_floor(model.info.space, frame_height), skeleton=skeleton)
            for model in models
        ]
        self.sightings = 0
        self.last_seen_s = -np.inf

    def add_sighting(self, time_s: float) -> None:
        """The person was detected at this time."""
        self.sightings += 1
        self.doubtful &= self.sightings < 2
        self.last_seen_s = time_s

    def distance(self, person: Person, time_s: float) -> float:
        """Mean joint distance between the prediction and a detection, in body scales; infinite out of reach.

        An id from the estimator decides by itself: 0 where it is this track's, infinite where it is not.
        """
        if person.id is not None:
            return 0.0 if person.id == self.id else np.inf
        image = self.windows[0]
        space = image.space
        prediction = space.core_of(image.at([time_s]).poses[0])
        distance = distance_in_scales(prediction, space.core_of(person.pose), image.min_scale)
        reach = _REACH + _REACH_PER_S * min(time_s - self.last_seen_s, _GROWS_FOR_S)
        reach += _REACH_UNKNOWN_SPEED if self.sightings < 2 else 0
        return distance if distance <= reach else np.inf


class People:
    """The tracks of a stream. `observe` takes the detections of a keyframe and returns the Scene they lead to."""

    def __init__(
        self,
        models: tuple[Model, ...],
        skeleton: str | None = None,
        *,
        max_people: int,
        max_silence_s: float = 1.0,
    ) -> None:
        """The detections are of the `skeleton` of this name: by default BlazePose-33, or SMPL-24 of rotations."""
        self._models = models
        self._skeleton = SKELETONS[skeleton or SPACES[models[0].info.space].skeleton.name]
        self._max_people = max_people
        self._max_silence_s = max_silence_s
        self._next_id = 0
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids go on counting."""
        self._tracks: list[_Track] = []
        self._away: list[_Track] = []  # the people of the scene before the last cut
        self._last_keyframe_s = -np.inf
        self._last_gap_s = np.inf  # before the newest keyframe; infinite at the first
        self.seen: dict[int, Person] = {}  # at the newest keyframe, by id

    def change_scene(self, *, is_return: bool) -> None:
        """Nobody goes on into the next scene. In a return, the people of the scene before the last are back."""
        self._tracks, self._away = self._away if is_return else [], self._tracks

    def empty_scene(self) -> Scene:
        """The scene before the first keyframe."""
        return Scene(
            (),
            tuple(model.info.space for model in self._models),
            tuple(model.sigma_table is not None for model in self._models),
            skeleton=self._skeleton,
        )

    def observe(
        self,
        detections: Sequence[Person],
        time_s: float,
        frame_height: float,
        gap: Callable[[int, np.ndarray], Back | None] | None = None,
    ) -> Scene:
        """`observing`, with the keyframes pushed at once."""
        return completed(self.observing(detections, time_s, frame_height, gap))

    def observing(
        self,
        detections: Sequence[Person],
        time_s: float,
        frame_height: float,
        gap: Callable[[int, np.ndarray], Back | None] | None = None,
    ) -> Steps[Scene]:
        """Match detections to tracks, push everybody's keyframe, start and end tracks.

        `gap` gives the way back from a measured pose [17, 2] at this keyframe to the last one, through pictures.
        """
        before = list(self._tracks)
        self._tracks = [track for track in self._tracks if not self._is_gone(track, time_s)]
        matches = self._match(detections, time_s)
        keyframes = [(track, matches.get(track.id)) for track in self._tracks]
        for track, match in keyframes:
            if match is not None:
                track.add_sighting(time_s)
        known = list(matches.values())
        matched_objects = {id(person) for person in known}
        for person in detections:
            pose = person.in_space(self._models[0].info.space)
            if id(person) not in matched_objects and pose is not None and np.isfinite(pose).all(axis=1).any():
                doubtful = any(self._may_be_one(person, other) for other in known)
                keyframes += [(track, person) for track in self._start(person, time_s, frame_height, doubtful)]
                known.append(person)
        self._last_gap_s, self._last_keyframe_s = time_s - self._last_keyframe_s, time_s
        self.seen = {track.id: person for track, person in keyframes if person is not None}
        yield _windows_keyframes(keyframes, time_s, gap)
        ended = [track for track in before if track not in self._tracks]
        return self._scene(time_s, ended)

    @property
    def has_news(self) -> bool:
        """Whether somebody came or was lost at the newest keyframe. Who comes alone, where one may be, is no news."""
        is_open = self._max_people > 1  # others may come with them
        return any(
            (is_open and track.sightings < 2) or track.last_seen_s < self._last_keyframe_s for track in self._tracks
        )

    def _is_gone(self, track: _Track, time_s: float) -> bool:
        # A person seen at the previous keyframe is not silent, however slow the source is. But it may stand still.
        longest_s = max(_LONGEST_GAP_S, _OF_LAST_GAP * self._last_gap_s)
        is_silent = track.last_seen_s < self._last_keyframe_s and time_s > self._believed_until_s(track)
        return is_silent or time_s - self._last_keyframe_s > longest_s

    def _believed_until_s(self, track: _Track) -> float:
        return track.last_seen_s + (0.0 if track.doubtful else self._max_silence_s)

    def _match(self, detections: Sequence[Person], time_s: float) -> dict[int, Person]:
        """Detections by track id; the closest pairs are matched first, and silent tracks after others."""
        pairs = [
            (track.distance(person, time_s) + _SILENT * (track.last_seen_s < self._last_keyframe_s), t, p)
            for t, track in enumerate(self._tracks)
            for p, person in enumerate(detections)
        ]
        matches: dict[int, Person] = {}
        matched_detections: set[int] = set()
        for distance, t, p in sorted(pairs):
            if np.isfinite(distance) and self._tracks[t].id not in matches and p not in matched_detections:
                matches[self._tracks[t].id] = detections[p]
                matched_detections.add(p)
        return matches

    def _start(self, person: Person, time_s: float, frame_height: float, doubtful: bool) -> list[_Track]:
        """The new track, in a list. Where all places are taken, it replaces the track that is silent for longest.

        The list is empty where all places are taken and no track is silent.
        """
        if len(self._tracks) >= self._max_people:
            silent = [track for track in self._tracks if track.last_seen_s < time_s]
            if not silent:
                return []
            self._tracks.remove(min(silent, key=lambda track: track.last_seen_s))
        track_id = self._next_id if person.id is None else person.id
        track = _Track(track_id, self._models, self._skeleton, frame_height, doubtful=doubtful)
        track.add_sighting(time_s)
        self._tracks.append(track)
        self._next_id += 1
        return [track]

    def _may_be_one(self, person: Person, other: Person) -> bool:
        """Whether two detections lie so close that the estimator may have seen one person twice."""
        if person.id is not None or other.id is not None:
            return False
        space = space_of("image", self._skeleton)
        return distance_in_scales(space.core_of(person.pose), space.core_of(other.pose), min_scale=1.0) < _DOUBLE

    def _scene(self, time_s: float, ended: Sequence[_Track]) -> Scene:
        """The scene after a keyframe. A track that ended there is still known in the gap before it."""
        tracks = []
        for track in sorted([*self._tracks, *ended], key=lambda track: track.id):
            until_s = np.inf if track.last_seen_s == time_s else self._believed_until_s(track)
            if track in ended:
                until_s = min(until_s, np.nextafter(time_s, -np.inf))
            curves = tuple(window.curve for window in track.windows if window.curve is not None)
            # Who is never seen in metres is known in the picture all the same.
            if track.windows[0].curve is not None:
                tracks.append(TrackCurves(track.id, curves, float(until_s)))
        empty = self.empty_scene()
        return Scene(tuple(tracks), empty.spaces, empty.has_sigma, None, self._skeleton)


def _windows_keyframes(
    keyframes: Sequence[tuple[_Track, Person | None]],
    time_s: float,
    gap: Callable[[int, np.ndarray], Back | None] | None,
) -> Keyframes:
    """Everybody's keyframe for all their windows."""
    pairs = [(window, person) for track, person in keyframes for window in track.windows]
    return Keyframes(
        [window for window, _ in pairs],
        [None if person is None else person.in_space(window.space.name) for window, person in pairs],
        [None if person is None else person.scores for _, person in pairs],
        [time_s] * len(pairs),
        [seen for track, person in keyframes for seen in _seen(track, person, time_s, gap)],
    )


def _seen(
    track: _Track,
    person: Person | None,
    time_s: float,
    gap: Callable[[int, np.ndarray], Back | None] | None,
) -> list[Seen | None]:
    """For each window of a track: by how much what was seen in the gap corrects its way to the new keyframe.

    Only windows ask for that whose keyframes lie off their grid.
    """
    image, windows = track.windows[0], track.windows
    nothing: list[Seen | None] = [None] * len(windows)
    if gap is None or person is None or image.curve is None or not np.isfinite(person.pose[image.space.own_core]).all():
        return nothing
    back = gap(track.id, whole_pose(image.space.core_of(person.pose)))
    if back is None:
        return nothing

    way = image.way(time_s, person.pose)

    @cache
    def shifts() -> list[Shifts | None]:
        glimpses = back.glimpses
        if glimpses is None:
            return [None] * len(windows)
        return glimpses.shifts([window.space for window in windows], way(glimpses.time_s), time_s)

    return [partial(_nth, shifts, w) for w in range(len(windows))]


def _nth(shifts: Callable[[], list[Shifts | None]], w: int) -> Shifts | None:
    return shifts()[w]

"""MotionWindow: the last few keyframes of one person in one space, as a function of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.normalise import root_and_scale_of_one, whole_pose
from mixsynth_stream.pipeline.course import Course, Seen
from mixsynth_stream.pipeline.curve import SAME_TIME_S, Curve, NetworkInput, Sighting, Slots, WindowPoses
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.rotations import matrix_to_6d, nearest_6d
from mixsynth_stream.spaces import SPACES, space_of

if TYPE_CHECKING:
    from mixsynth_stream.skeleton import Skeleton
    from mixsynth_stream.weights import Model

# Keyframes whose spacing is further off the grid than this share are resampled to the grid for the network.
_SPACING_TOLERANCE = 0.3
_NO_ROTATION = matrix_to_6d(np.eye(3))


class _Draft(NamedTuple):
    """The curve after a new keyframe, still without the network's output."""

    slots: Slots
    sightings: tuple[Sighting, ...]
    known: np.ndarray  # [J] bool
    network_input: NetworkInput
    course: Course
    resampled: bool  # whether the earlier slots were moved to the new keyframe's grid


class MotionWindow:
    """One person in one space: push keyframes in, read poses at any time out.

    `model` sets the space, the spacing N and the number of keyframes Q + 1. `min_scale` is the smallest body scale
    that normalisation divides by, in the unit of the poses (a stream gives 2 % of the frame height in images). Poses
    are of the `skeleton`: BlazePose-33, or SMPL-24 of rotations, unless another one of `LANDMARKS` is given.
    All state is in this object; `reset()` restores the empty window.
    """

    def __init__(self, model: Model, *, min_scale: float = 0.0, skeleton: Skeleton | None = None) -> None:
        own = SPACES[model.info.space]
        self.space = own if skeleton is None else space_of(own.name, skeleton)
        model.expect(self.space.network, model.info.space)
        if self.space.is_rotation and model.info.normalisation != "none":
            raise ModelError(
                f"rotations have no root and no size, but these weights want normalisation {model.info.normalisation}; "
                "convert them again with normalisation none"
            )
        self._model = model
        self._spacing_s = model.config.sample_interval / model.info.rate_hz
        self.min_scale = min_scale
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._slots: Slots | None = None
        self._course: Course | None = None
        self.curve: Curve | None = None

    def push(
        self,
        pose: np.ndarray | None,  # [J, D] in the space's unit; an unseen joint is NaN, an unseen person None
        scores: np.ndarray | None,  # [J] 0..1; None: all 1
        time_s: float,
    ) -> None:
        """Take a keyframe and run the network once. A keyframe without a person takes the window's own prediction.

        Raises `ValueError` for a shape that does not fit and for a time that is not later than the last.
        """
        if (draft := self._draft(pose, scores, time_s)) is not None:
            self._finish(draft, self._model(draft.network_input.keyframes[None].astype(np.float32))[0])

    def _draft(
        self, pose: np.ndarray | None, scores: np.ndarray | None, time_s: float, seen: Seen | None = None
    ) -> _Draft | None:
        """The draft of a keyframe, for the network. None: the window took the keyframe without a call.

        A keyframe that is refused (`ValueError`) leaves the window as it was.
        """
        if self._slots is not None and time_s <= self._slots.time_s[-1]:
            raise ValueError(f"keyframe times must increase, found {time_s} s after {self._slots.time_s[-1]} s")
        if pose is None:
            self._push_prediction(time_s)
            return None
        pose, scores, time_s = *self._check(pose, scores), float(time_s)
        measured = np.logical_and.reduce(np.isfinite(pose), axis=1)
        count = np.count_nonzero(measured)
        if not count:
            self._push_prediction(time_s)
            return None
        if count < self.space.rows:
            pose, scores, measured = self._complete(pose, scores, measured, time_s)
        course = self._course_to(time_s, pose, seen)
        earlier = self._slots_on_grid(time_s, course)
        slots = self._append(earlier, pose, scores, time_s)
        known, sightings = measured, [(time_s, measured)]
        if self.curve is not None:
            known = self.curve.known
            if np.count_nonzero(known) < len(known):
                first_seen = measured & ~known
                slots.poses[:, first_seen] = pose[first_seen]
                course.points.poses[:, first_seen] = pose[first_seen]
                known = measured | known
            sightings = [*_since(slots.time_s[0], self.curve.sightings), *sightings]
        draft = _Draft(slots, tuple(sightings), known, self._network_input(slots), course, earlier is not self._slots)
        if len(slots.time_s) > 1:
            return draft
        self._finish(draft, None)
        return None

    def _finish(self, draft: _Draft, output: np.ndarray | None) -> None:  # [T, C * D]
        """Make the draft this window's curve. `output` is the network's; None while there is one keyframe only."""
        slots, sightings, known, network_input, course, resampled = draft
        curve = Curve(self._model, self.space, slots, sightings, known, network_input, output)
        if resampled and self.curve is not None:
            curve = curve.bridged_from(self.curve)
        self._slots, self._course, self.curve = slots, course, curve

    def at(self, times_s: Sequence[float] | np.ndarray) -> WindowPoses:
        """Poses at M seconds; see `Curve.at`. An empty window gives MISSING everywhere."""
        if self.curve is None:
            shape = (len(times_s), self.space.joints)
            poses = np.full((*shape, self.space.dims), np.nan)
            sigma = None if self._model.sigma_table is None else np.full(shape, np.nan)
            return WindowPoses(poses, np.zeros(shape), np.full(shape, Origin.MISSING, np.uint8), sigma)
        return self.curve.at(times_s).first(self.space.joints)

    def _check(self, pose: np.ndarray, scores: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Both as float64 arrays of the space's shape, rotations made exact. `ValueError` where they do not fit."""
        pose = np.asarray(pose, dtype=np.float64)
        expected = (self.space.joints, self.space.dims)
        if pose.shape != expected:
            raise ValueError(f"pose must be {list(expected)} in {self._model.info.space} space, found {pose.shape}")
        scores = np.ones(expected[0]) if scores is None else np.asarray(scores, dtype=np.float64)
        if scores.shape != expected[:1]:
            raise ValueError(f"scores must be [{expected[0]}], found {scores.shape}")
        pose = nearest_6d(pose) if self.space.is_rotation else pose
        return pose, np.where(np.isfinite(scores), scores, 0.0)

    def _push_prediction(self, time_s: float) -> None:
        """Fill the slot of a missed keyframe. The curve stays: it reaches past this time, and nothing new was seen."""
        if self.curve is None or self._slots is None:
            return
        prediction = self.curve.at([time_s])
        pose = self._expected(prediction.poses)[0]
        pose = np.where(np.isfinite(pose), pose, self._slots.poses[-1])
        self._slots = self._append(self._slots, pose, prediction.scores[0], time_s)

    def _complete(
        self,
        pose: np.ndarray,  # [J, D]
        scores: np.ndarray,  # [J]
        measured: np.ndarray,  # [J] bool
        time_s: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [R, D], [R], [R]
        """The rows of the window, each unseen joint filled in: predicted, or else where it is expected in this body.

        A rotation without a prediction stays as in the slot before; at first it is the identity. Rows that the skeleton
        does not have count as measured.
        """
        if self.space.is_rotation:
            return self._complete_rotations(pose, measured, time_s), scores, measured
        if self.curve is not None and not measured.all():
            predicted = self.curve.at([time_s]).poses[0, : self.space.joints]
            pose = np.where(measured[:, None], pose, predicted)
        extra = self.space.rows - self.space.joints
        if extra:
            scores, measured = np.append(scores, np.ones(extra)), np.append(measured, np.ones(extra, bool))
        return self._expected(self._with_all_rows(pose)[None])[0], scores, measured

    def _with_all_rows(self, pose: np.ndarray) -> np.ndarray:  # [J or R, D] -> [R, D]
        """The pose with NaN in the rows that the skeleton does not have."""
        extra = self.space.rows - len(pose)
        return np.concatenate([pose, np.full((extra, self.space.dims), np.nan)]) if extra else pose

    def _expected(self, poses: np.ndarray) -> np.ndarray:  # [M, R, D] -> [M, R, D]
        """The poses, with a joint that is NaN where it is expected in this body. They stay where one has no joint."""
        seen = np.isfinite(poses).all(axis=-1)
        if self.space.is_rotation or seen.all() or not seen.any(axis=1).all():
            return poses
        core = whole_pose(poses.take(self.space.core, axis=1))
        if np.isnan(core).any():  # none of the network's joints was ever seen
            core = np.where(np.isfinite(core), core, np.nanmean(poses, axis=1, keepdims=True))
        return np.where(np.isfinite(poses), poses, self.space.carried(core))

    def _complete_rotations(self, pose: np.ndarray, measured: np.ndarray, time_s: float) -> np.ndarray:
        fallback = np.broadcast_to(_NO_ROTATION, pose.shape)
        if self.curve is not None and self._slots is not None:
            prediction = self.curve.at([time_s]).poses[0]
            fallback = np.where(np.isfinite(prediction), prediction, self._slots.poses[-1])
        return np.where(measured[:, None], pose, fallback)

    def _append(self, slots: Slots | None, pose: np.ndarray, scores: np.ndarray, time_s: float) -> Slots:
        """The newest Q slots and a new one."""
        if slots is None:
            return Slots((time_s,), pose[None].copy(), scores[None])
        keep = slice(-self._model.config.step, None)
        return Slots(
            (*slots.time_s[keep], time_s),
            np.concatenate([slots.poses[keep], pose[None]]),
            np.concatenate([slots.scores[keep], scores[None]]),
        )

    def way(self, time_s: float, pose: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:  # [J or R, D]
        """The curve of now, bent so that it ends at the `pose` of a new keyframe: [M] times -> [M, R, D]."""
        assert self._slots is not None and self.curve is not None
        return partial(self._bent, self.curve, self._slots, time_s, pose)

    def _bent(self, curve: Curve, slots: Slots, time_s: float, pose: np.ndarray, times: np.ndarray) -> np.ndarray:
        if len(pose) < self.space.rows:
            pose = self._expected(self._with_all_rows(pose)[None])[0]
        last_s = slots.time_s[-1]
        past = curve.at(np.minimum(times, last_s)).poses
        if not np.isfinite(past).all():
            past = self._expected(past)
            past = np.where(np.isfinite(past), past, slots.poses[-1])
        share = np.minimum(np.maximum((times - last_s) / (time_s - last_s), 0.0), 1.0)[:, None, None]
        return past * (1.0 - share) + pose * share

    def _course_to(self, time_s: float, pose: np.ndarray, seen: Seen | None) -> Course:
        """All that the slots reach back to, what was `seen` in the picture since the newest one, and this keyframe."""
        if self._course is None:
            return Course(None, time_s, pose)
        before = self._course.points.since(time_s - self._model.config.step * self._spacing_s)
        return Course(before, time_s, pose, seen, self.way(time_s, pose))

    def _slots_on_grid(self, time_s: float, course: Course) -> Slots | None:
        """The earlier slots. Where keyframes lie off the grid of the new one, they are read off the course, on it.

        That happens at the last frame of a file, in sources slower than the keyframe rate, and where keyframes are
        chosen. The network would take the person for several times faster or slower than anybody it was trained on.
        """
        slots, step, spacing_s = self._slots, self._model.config.step, self._spacing_s
        if slots is None or self.curve is None or self._is_on_grid(time_s, slots):
            return slots
        times = time_s - spacing_s * np.arange(step, 0, -1)
        times = times[times >= course.start_s - SAME_TIME_S]
        if not len(times):
            return Slots((time_s - spacing_s,), slots.poses[-1:], slots.scores[-1:])
        poses = course.at(times)
        scores = self.curve.at(np.minimum(times, slots.time_s[-1])).scores
        return Slots(tuple(times.tolist()), nearest_6d(poses) if self.space.is_rotation else poses, scores)

    def _is_on_grid(self, time_s: float, slots: Slots) -> bool:
        """Whether the keyframe comes one spacing after the newest slot, and those before were multiples of it apart."""
        assert self.curve is not None
        seen_s = [*(seen_s for seen_s, _ in self.curve.sightings), time_s]
        # Plain numbers, because they are few.
        intervals = [(later_s - earlier_s) / self._spacing_s for earlier_s, later_s in pairwise(seen_s)]
        off = [abs(interval - max(round(interval), 1)) for interval in intervals]
        newest = abs((time_s - slots.time_s[-1]) / self._spacing_s - 1.0)
        return max(*off, newest) <= _SPACING_TOLERANCE

    def _network_input(self, slots: Slots) -> NetworkInput:
        """The core joints of the slots, normalised. While slots are fewer than Q + 1 the oldest is repeated."""
        config, info = self._model.config, self._model.info
        keyframes = slots.poses.take(self.space.core, axis=1)  # [Q+1, C, D]
        if (missing := config.num_keyframes - len(keyframes)) > 0:
            keyframes = np.concatenate([np.repeat(keyframes[:1], missing, axis=0), keyframes])
        root, scale = root_and_scale_of_one(keyframes, info.normalisation, self.min_scale)
        # Rows of all joints, because numpy is slow on rows of two or three numbers.
        normalised = keyframes.reshape(config.num_keyframes, config.joint_dim) - np.array(root * keyframes.shape[1])
        normalised /= scale
        return NetworkInput(normalised, root, scale)


def _since(oldest_s: float, sightings: tuple[Sighting, ...]) -> tuple[Sighting, ...]:
    """The sightings from `oldest_s` on, and the last one whatever its time: the gap after it is still to be filled."""
    return tuple(sighting for sighting in sightings[:-1] if sighting[0] >= oldest_s - SAME_TIME_S) + sightings[-1:]


def push_all(
    windows: Sequence[MotionWindow],  # W
    poses: Sequence[np.ndarray | None],  # W of [J, D]
    scores: Sequence[np.ndarray | None],  # W of [J]
    times_s: Sequence[float],  # W
    seen: Sequence[Seen | None] | None = None,  # W
) -> None:
    """`push` a keyframe into each of several windows: other people, spaces, cameras. Each network runs once.

    Windows share a call of the network where they were made with the same `Model` object. A keyframe that is refused
    leaves its own window as it was; all others are taken. Then the first refusal is raised, as `ValueError`.
    """
    refusals = push_each(windows, poses, scores, times_s, seen)
    if refusals:
        w = min(refusals)
        first, count = refusals[w], len(windows) - len(refusals)
        raise ValueError(f"{first} (windows[{w}]; {count} of {len(windows)} keyframes were taken)") from first


def push_each(
    windows: Sequence[MotionWindow],  # W
    poses: Sequence[np.ndarray | None],  # W of [J, D]
    scores: Sequence[np.ndarray | None],  # W of [J]
    times_s: Sequence[float],  # W
    seen: Sequence[Seen | None] | None = None,  # W
) -> dict[int, ValueError]:
    """`push_all` that returns the refusals, by number of the window, and raises none of them."""
    if not len(windows) == len(poses) == len(scores) == len(times_s):
        raise ValueError(
            "windows, poses, scores and times_s must be as many, "
            f"found {len(windows)}, {len(poses)}, {len(scores)} and {len(times_s)}"
        )
    if len({id(window) for window in windows}) < len(windows):
        raise ValueError(f"each window takes one keyframe in a call, found one twice among {len(windows)}")
    refusals: dict[int, ValueError] = {}  # by window
    batches: dict[int, list[tuple[int, _Draft]]] = {}  # by model: windows and their drafts
    rows = zip(windows, poses, scores, times_s, seen or [None] * len(windows), strict=True)
    for w, (window, pose, score, time_s, its_seen) in enumerate(rows):
        try:
            draft = window._draft(pose, score, time_s, its_seen)
        except ValueError as error:
            refusals[w] = error
        else:
            if draft is not None:
                batches.setdefault(id(window._model), []).append((w, draft))
    for batch in batches.values():
        model = windows[batch[0][0]]._model
        keyframes = np.array([draft.network_input.keyframes for _, draft in batch], np.float32)
        for (w, draft), output in zip(batch, _outputs(model, keyframes), strict=True):
            if isinstance(output, ValueError):
                refusals[w] = output
            else:
                windows[w]._finish(draft, output)
    return refusals


def _outputs(
    model: Model,
    keyframes: np.ndarray,  # [B, Q+1, D]
) -> Sequence[np.ndarray | ValueError]:  # B of [T, D], or of the reason why there is none
    """The network's output for each window. A backend that refuses a batch is called once more for each window."""
    try:
        return list(model(keyframes))
    except ValueError as error:
        if len(keyframes) == 1:
            return [error]
        return [output for window in keyframes for output in _outputs(model, window[None])]

"""What an estimator is, and the three kinds: MediaPipe, recorded estimates, and any callable of yours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zipfile import BadZipFile

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.mediapipe_estimator import MediaPipeEstimator
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33, Skeleton

__all__ = ["ArrayEstimator", "CallableEstimator", "Estimator", "MediaPipeEstimator", "as_estimator", "check_person"]

_JOINTS = len(BLAZEPOSE_33)
# A recorded estimate answers for a frame at most this far away, however slow the recording is.
_MAX_HALF_FRAME_S = 0.05
# Pixels of a person reach further than this, metres about the hips do not.
_NORMALISED_LIMIT = 2.0
_WORLD_LIMIT_M = 20.0


@runtime_checkable
class Estimator(Protocol):
    """Anything that finds people in a picture."""

    skeleton: str  # "BlazePose-33"

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8
        """The people in one frame: poses in pixels of this frame, worlds in metres about the hips, scores 0..1."""

    def close(self) -> None:
        """Free what it holds."""


class CallableEstimator:
    """A user's callable `(rgb, time_s) -> people`, each a `Person` or a (pose, world, scores) tuple, checked."""

    def __init__(self, function: Callable[[np.ndarray, float], Sequence[Any]], skeleton: str) -> None:
        _check_skeleton(skeleton)
        self.skeleton = skeleton
        self._function = function

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8
        """The callable's people; `ModelError` says which value is wrong."""
        people = self._function(rgb, time_s)
        if isinstance(people, Person) or not isinstance(people, Sequence):
            raise ModelError(
                f"an estimator must return a list of people (empty: nobody), found {type(people).__name__}"
            )
        return [check_person(person, f"person {p} at {time_s:.3f} s") for p, person in enumerate(people)]

    def close(self) -> None:
        """Close the callable, where it can be closed."""
        close = getattr(self._function, "close", None)
        if callable(close):
            close()


class ArrayEstimator:
    """Replays recorded estimates: an npz file, or a mapping of arrays with the same names.

    time_s [F]; poses [F, P, 33, 2] pixels; world [F, P, 33, 3] metres; scores [F, P, 33] 0..1 (optional, else 1); the
    P axis may be left out for one person. A person whose pose is all NaN was not there. `skeleton` (optional) must say
    BlazePose-33. A frame takes the recorded one nearest in time, at most half a frame away.
    """

    def __init__(self, source: str | os.PathLike[str] | Mapping[str, Any]) -> None:
        name = "the recorded estimates" if isinstance(source, Mapping) else str(source)
        arrays = dict(source) if isinstance(source, Mapping) else _read_npz(Path(source))
        missing = [key for key in ("time_s", "poses", "world") if key not in arrays]
        if missing:
            raise ModelError(f"{name}: no array {missing[0]!r}; found {', '.join(sorted(arrays)) or 'none'}")
        self.skeleton = str(np.asarray(arrays.get("skeleton", BLAZEPOSE_33.name)))
        _check_skeleton(self.skeleton)
        self.time_s = np.asarray(arrays["time_s"], np.float64)  # [F]
        if self.time_s.ndim != 1 or not len(self.time_s) or not (np.diff(self.time_s) > 0).all():
            raise ModelError(f"{name}: time_s must be [F] and increase, found shape {list(self.time_s.shape)}")
        poses = _with_people(arrays["poses"], 2, len(self.time_s), f"{name}: poses")
        world = _with_people(arrays["world"], 3, len(self.time_s), f"{name}: world")
        found = arrays.get("scores")
        scores = np.ones(poses.shape[:3]) if found is None else np.asarray(found, np.float64)
        scores = scores[:, None] if scores.ndim == 2 else scores
        if world.shape[:3] != poses.shape[:3] or scores.shape != poses.shape[:3]:
            shapes = ", ".join(str(list(array.shape)) for array in (poses, world, scores))
            raise ModelError(f"{name}: poses, world and scores must agree in frames and people, found {shapes}")
        self._frames = [
            [
                check_person((poses[f, p], world[f, p], scores[f, p]), f"{name}: frame {f}, person {p}")
                for p in range(poses.shape[1])
                if np.isfinite(poses[f, p]).any()
            ]
            for f in range(len(self.time_s))
        ]
        spacing = float(np.median(np.diff(self.time_s))) if len(self.time_s) > 1 else np.inf
        # A hair more than half, because time stamps are often rounded to milliseconds.
        self._reach_s = min(0.5 * spacing, _MAX_HALF_FRAME_S) + 1e-3

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8, not looked at
        """The people recorded for this time; `ModelError` where nothing was recorded within half a frame."""
        nearest = int(np.abs(self.time_s - time_s).argmin())
        if abs(self.time_s[nearest] - time_s) > self._reach_s:
            raise ModelError(
                f"the recorded estimates have nothing within {self._reach_s:.3f} s of {time_s:.3f} s (they span "
                f"{self.time_s[0]:.3f} to {self.time_s[-1]:.3f} s): record them from this video, for every keyframe"
            )
        return list(self._frames[nearest])

    def close(self) -> None:
        """Nothing to free."""


def as_estimator(estimator: Any, skeleton: str | Skeleton | None = None) -> Estimator:
    """An Estimator from an Estimator of ours, the path of an npz recording, or any callable `(rgb, time_s) -> people`.

    A callable says its skeleton by the argument or by an attribute of that name; only BlazePose-33 is accepted.
    """
    if isinstance(estimator, (MediaPipeEstimator, ArrayEstimator, CallableEstimator)):
        return estimator
    if isinstance(estimator, (str, os.PathLike)):
        return ArrayEstimator(estimator)
    if not callable(estimator):
        raise ModelError(f"an estimator must be callable as (rgb, time_s) -> people, found {type(estimator).__name__}")
    said = getattr(estimator, "skeleton", None) if skeleton is None else skeleton
    if said is None:
        raise ModelError(
            f"the estimator does not say its skeleton: pass as_estimator(..., skeleton={BLAZEPOSE_33.name!r}) or set "
            "its attribute `skeleton`"
        )
    return CallableEstimator(estimator, said.name if isinstance(said, Skeleton) else str(said))


def check_person(person: Any, name: str) -> Person:
    """A Person of float64 arrays from a Person or a (pose, world, scores) tuple; `ModelError` says what is wrong."""
    if isinstance(person, Person):
        person = (person.pose, person.world, person.scores)
    if not isinstance(person, (tuple, list)) or len(person) != 3:
        found = f"{len(person)} values" if isinstance(person, (tuple, list)) else type(person).__name__
        raise ModelError(f"{name} must be a Person or a (pose, world, scores) tuple, found {found}")
    pose = _joints(person[0], (_JOINTS, 2), f"{name}: pose")
    world = _joints(person[1], (_JOINTS, 3), f"{name}: world")
    scores = _numbers(person[2], (_JOINTS,), f"{name}: scores")
    seen = np.isfinite(pose).all(axis=1)
    scores = np.where(seen, scores, 0.0)
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        joint = int(wrong.argmax())
        raise ModelError(f"{name}: scores must lie in 0..1, found {scores[joint]} at {BLAZEPOSE_33.joints[joint]}")
    if seen.any() and np.abs(pose[seen]).max() <= _NORMALISED_LIMIT:
        raise ModelError(
            f"{name}: pose must be in pixels, found values within {np.abs(pose[seen]).max():.3g}: they look "
            "normalised; multiply by the frame's width and height"
        )
    if np.nanmax(np.abs(world), initial=0.0) > _WORLD_LIMIT_M:
        raise ModelError(
            f"{name}: world must be in metres about the hips, found values up to {np.nanmax(np.abs(world)):.4g}"
        )
    return Person(pose, world, scores)


def _numbers(value: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ModelError(f"{name} must hold numbers, found dtype {array.dtype}")
    if array.shape != shape:
        raise ModelError(f"{name} must be {list(shape)}, found {list(array.shape)}")
    return array.astype(np.float64)


def _joints(value: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Joints that are finite, or NaN in every coordinate (not seen)."""
    array = _numbers(value, shape, name)
    finite, missing = np.isfinite(array).all(axis=1), np.isnan(array).all(axis=1)
    if not (finite | missing).all():
        joint = int((finite | missing).argmin())
        raise ModelError(
            f"{name}: a joint must be finite or all NaN (not seen), found {array[joint].tolist()} at "
            f"{BLAZEPOSE_33.joints[joint]}"
        )
    return array


def _with_people(value: Any, dims: int, frames: int, name: str) -> np.ndarray:  # -> [F, P, 33, dims]
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ModelError(f"{name} must hold numbers, found dtype {array.dtype}")
    array = array[:, None] if array.ndim == 3 else array
    expected = f"[{frames}, P, {_JOINTS}, {dims}] or [{frames}, {_JOINTS}, {dims}]"
    if array.ndim != 4 or array.shape[0] != frames or array.shape[2:] != (_JOINTS, dims):
        raise ModelError(f"{name} must be {expected} ({BLAZEPOSE_33.name}), found {list(np.shape(value))}")
    return array


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise ModelError(f"there is no file of recorded estimates {str(path)!r}") from None
    except (OSError, ValueError, AttributeError, EOFError, BadZipFile) as error:
        raise ModelError(
            f"{path} is not a file of recorded estimates ({error}): it should be an npz with time_s, poses and world"
        ) from error


def _check_skeleton(skeleton: str) -> None:
    if skeleton != BLAZEPOSE_33.name:
        raise ModelError(f"the skeleton {skeleton!r} is not supported: estimators must give {BLAZEPOSE_33.name}")

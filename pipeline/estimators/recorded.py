"""ArrayEstimator: replays recorded estimates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ARRAY_DAMAGE
from mixsynth_stream.pipeline.estimators.checks import (
    as_numbers,
    as_others,
    check_body,
    check_ids,
    check_person,
    check_rotations,
    check_skeleton,
    warn_of_odd_poses,
    with_people,
)
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33, SMPL_24, Skeleton

# A recorded estimate stands for frames at most this far away, however slow the recording is.
_MAX_HALF_FRAME_S = 0.05


class ArrayEstimator:
    """Replays recorded estimates: an npz file, or a mapping of arrays with the same names.

    Landmarks: time_s [F]; poses [F, P, J, 2] pixels of `Frame.rgb`; world [F, P, J, 3] metres (optional); scores
    [F, P, J] 0..1 (optional, else 1); skeleton, whose J joints these are: one of `LANDMARKS` (optional, else
    BlazePose-33).
    SMPL: time_s [F]; rotations [F, P, 24, 3] axis-angle in radians, or [F, P, 24, 6], [F, P, 24, 3, 3],
    [F, P, 72]; scores [F, P, 24] (optional); ids [P] or [F, P], who is who (optional, else the place along P).

    The P axis may be left out for one person. Somebody whose pose is all NaN was not seen. A frame takes the estimates
    nearest in time, at most half a frame away.
    """

    def __init__(self, source: str | os.PathLike[str] | Mapping[str, Any], skeleton: str | None = None) -> None:
        """`skeleton` is that of arrays which name none."""
        name = "the recorded estimates" if isinstance(source, Mapping) else str(source)
        arrays = dict(source) if isinstance(source, Mapping) else _read_npz(Path(source))
        is_smpl = "rotations" in arrays and "poses" not in arrays
        required = ("time_s", "rotations") if is_smpl else ("time_s", "poses")
        missing = [key for key in required if key not in arrays]
        if missing:
            raise ModelError(f"{name}: no array {missing[0]!r}; found {', '.join(sorted(arrays)) or 'none'}")
        usual = skeleton or (SMPL_24 if is_smpl else BLAZEPOSE_33).name
        try:
            kind = check_skeleton(str(np.asarray(arrays.get("skeleton", usual))))
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from None
        self.skeleton = kind.name
        if skeleton is not None and check_skeleton(skeleton) is not kind:
            raise ModelError(f"{name} says that its skeleton is {kind.name}, not {skeleton}: leave {skeleton} out")
        if (kind is SMPL_24) != is_smpl:
            usual = SMPL_24.name if is_smpl else "landmarks"
            raise ModelError(f"{name}: {required[1]} are of {usual}, but its skeleton says {kind.name}")
        self.time_s = _times(arrays["time_s"], f"{name}: time_s")
        frames = len(self.time_s)
        if is_smpl:
            self._frames = _people_of_rotations(arrays, frames, name)
        else:
            self._frames = _people_of_landmarks(arrays, frames, kind, name)
            warn_of_odd_poses([person for people in self._frames for person in people], kind, name)
        self.spacing_s = float(np.median(np.diff(self.time_s))) if len(self.time_s) > 1 else np.inf
        # A hair more than half, because time stamps are often rounded to milliseconds.
        self._reach_s = min(0.5 * self.spacing_s, _MAX_HALF_FRAME_S) + 1e-3

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8, not used
        """The people recorded for this time; `ModelError` where nothing was recorded within half a frame."""
        nearest = int(np.abs(self.time_s - time_s).argmin())
        if abs(self.time_s[nearest] - time_s) > self._reach_s:
            raise ModelError(
                f"the recorded estimates have nothing within {self._reach_s:.3f} s of {time_s:.3f} s (they span "
                f"{self.time_s[0]:.3f} to {self.time_s[-1]:.3f} s): record them from this video, for every keyframe"
            )
        return list(self._frames[nearest])

    @property
    def people(self) -> list[list[Person]]:
        """Who was seen in each frame."""
        return self._frames

    def frames(self) -> list[tuple[np.ndarray, float]]:
        """A blank picture and its time for each recorded frame: a source for a Stream of rotations, without a video."""
        blank = np.zeros((2, 2, 3), np.uint8)
        return [(blank, float(time_s)) for time_s in self.time_s]

    def covers(self, step_s: float) -> bool:
        """Whether there are estimates for every frame of a video whose frames lie this far apart."""
        return covers(self.spacing_s, step_s)

    def forget(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to free."""


def covers(spacing_s: float, step_s: float) -> bool:
    """Whether estimates that lie `spacing_s` apart are there for every frame of a video with steps of `step_s`."""
    return spacing_s < 1.5 * step_s


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise ModelError(
            f"there is no file of recorded estimates {str(path)!r}: check the name and the folder that you are in"
        ) from None
    except ARRAY_DAMAGE as error:
        raise ModelError(
            f"{path} is not a file of recorded estimates ({error}): it should be an npz with time_s and poses, "
            "or time_s and rotations"
        ) from error


def _times(value: Any, name: str) -> np.ndarray:  # -> [F] seconds
    """Times of frames, checked."""
    time_s = as_numbers(value, name)
    if time_s.ndim != 1 or not len(time_s):
        raise ModelError(f"{name} must be [F], a time in seconds for each frame, found shape {list(time_s.shape)}")
    if not np.isfinite(time_s).all():
        raise ModelError(f"{name} must be finite, found {time_s[~np.isfinite(time_s)][0]}: give seconds for each frame")
    earlier = np.flatnonzero(np.diff(time_s) <= 0)
    if len(earlier):
        before, after = time_s[earlier[0] : earlier[0] + 2]
        raise ModelError(f"{name} must increase, found {after:g} after {before:g}: give frames in the order of time")
    return time_s


def _people_of_landmarks(arrays: Mapping[str, Any], frames: int, kind: Skeleton, name: str) -> list[list[Person]]:
    poses = _of_people(arrays["poses"], 2, frames, kind, f"{name}: poses")
    world = np.full((*poses.shape[:3], 3), np.nan)
    if arrays.get("world") is not None:
        world = _of_people(arrays["world"], 3, frames, kind, f"{name}: world")
    scores = arrays.get("scores")
    scores = np.ones(poses.shape[:3]) if scores is None else with_people(as_numbers(scores, f"{name}: scores"), 3)
    if world.shape[:3] != poses.shape[:3] or scores.shape != poses.shape[:3]:
        shapes = ", ".join(str(list(array.shape)) for array in (poses, world, scores))
        raise ModelError(f"{name}: poses, world and scores must agree in frames and people, found {shapes}")
    return [
        [
            check_person((poses[f, p], world[f, p], scores[f, p]), f"{name}: frame {f}, person {p}", kind)
            for p in range(poses.shape[1])
            if np.isfinite(poses[f, p]).any()
        ]
        for f in range(frames)
    ]


def _people_of_rotations(arrays: Mapping[str, Any], frames: int, name: str) -> list[list[Person]]:
    rotations = with_people(check_rotations(arrays["rotations"], f"{name}: rotations"), 4)
    scores = with_people(as_numbers(arrays.get("scores", np.ones(rotations.shape[:3])), f"{name}: scores"), 3)
    ids = np.asarray(arrays.get("ids", np.arange(rotations.shape[1] if rotations.ndim == 4 else 0)))
    if rotations.ndim != 4 or len(rotations) != frames or scores.shape != rotations.shape[:3]:
        shapes = f"{list(np.shape(arrays['rotations']))} and {list(scores.shape)}"
        raise ModelError(f"{name}: rotations and scores must be of {frames} frames and the same people, found {shapes}")
    if ids.dtype.kind not in "iu" or ids.shape not in (rotations.shape[1:2], rotations.shape[:2]):
        raise ModelError(f"{name}: ids must be whole numbers, [P] or [F, P], found {ids.dtype} {list(ids.shape)}")
    ids = np.broadcast_to(ids, rotations.shape[:2])
    people = []
    for f in range(frames):
        columns = np.flatnonzero(np.isfinite(rotations[f]).any(axis=(1, 2)))
        people.append(
            [check_body((rotations[f, p], scores[f, p], ids[f, p]), f"{name}: frame {f}, person {p}") for p in columns]
        )
        check_ids(people[f], f"{name}: frame {f}")
    return people


def _of_people(value: Any, dims: int, frames: int, kind: Skeleton, name: str) -> np.ndarray:  # -> [F, P, J, dims]
    array, joints = with_people(as_numbers(value, name), 4), len(kind)
    if array.ndim != 4 or array.shape[0] != frames or array.shape[2:] != (joints, dims):
        raise ModelError(
            f"{name} must be [{frames}, P, {joints}, {dims}] or [{frames}, {joints}, {dims}] ({kind.name}), found "
            f"{list(np.shape(value))}{as_others(array.shape, kind)}"
        )
    return array

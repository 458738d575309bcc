"""Checks of the people that an estimator gives: landmarks (BlazePose-33, COCO-17, ...) or joint rotations (SMPL-24)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.rotations import axis_angle_to_6d, matrix_to_6d
from mixsynth_stream.skeleton import BLAZEPOSE_33, LANDMARKS, SMPL_24, Skeleton, named_skeleton

ESTIMATED = (*LANDMARKS, SMPL_24)
ROTATION_FORMS = "axis-angle [24, 3], 6 numbers [24, 6], matrices [24, 3, 3], or 72 or 144 numbers in a row"
# A pose in pixels reaches further than this; one in shares of the frame, or in metres about the hips, does not.
_NORMALISED_LIMIT = 2.0
# Nobody who is seen reaches so far out of any picture.
_PIXEL_LIMIT = 1e5
_WORLD_LIMIT_M = 20.0
# A rotation of more than two whole turns is in degrees, not in radians.
_MOST_RADIANS = 4 * np.pi
# How far the columns of a matrix may be from length 1 and right angles, because files hold few digits.
_COLUMN_TOLERANCE = 0.02
_SHORTEST_COLUMN = 0.05
# Shoulders below ankles in this share of at least so many poses are no handstand.
_USUAL, _LEAST_POSES = 0.9, 10
# Over the distance of any two joints, bones of people are 0.2 to 0.45 long; in another order of the joints 0.57 and up.
_LONG_BONES = 0.5
_LEAST_BONES = 8  # that must be seen
_MOST_POSES = 500  # that are looked at, evenly spread
logger = logging.getLogger(__name__)


def check_skeleton(name: str) -> Skeleton:
    """The skeleton of that name, however it is spelt. `ModelError` where estimators cannot have it."""
    try:
        return named_skeleton(name, ESTIMATED)
    except ValueError as error:
        raise ModelError(str(error)) from None


def check_person(person: Any, name: str, skeleton: Skeleton = BLAZEPOSE_33) -> Person:
    """A Person of float64 arrays from a Person or a (pose, world, scores) tuple; `ModelError` says what is wrong.

    Who is not known in metres has None for `world`.
    """
    if isinstance(person, Person):
        person = (person.pose, person.world, person.scores)
    if not isinstance(person, (tuple, list)) or len(person) != 3:
        raise ModelError(f"{name} must be a Person or a (pose, world, scores) tuple, found {_description(person)}")
    no_pose = np.full((len(skeleton), 2), np.nan)
    pose = no_pose if person[0] is None else _joints(person[0], 2, skeleton, f"{name}: pose")
    # Many estimators write (0, 0) for a joint that they do not see.
    pose = np.where((pose == 0).all(axis=1, keepdims=True), np.nan, pose)
    no_world = np.full((len(skeleton), 3), np.nan)
    world = no_world if person[1] is None else _joints(person[1], 3, skeleton, f"{name}: world")
    scores = _scores(person[2], np.isfinite(pose).all(axis=1), skeleton, name)
    seen = np.isfinite(pose).all(axis=1)
    if not seen.any() and np.isfinite(world).any():
        raise ModelError(
            f"{name}: pose must have a joint in pixels, found metres only: people are followed in the picture, so give "
            "pixels too, or leave the person out"
        )
    if seen.any() and np.abs(pose[seen]).max() <= _NORMALISED_LIMIT:
        raise ModelError(
            f"{name}: pose must be in pixels, found values within {np.abs(pose[seen]).max():.3g}: they look "
            "normalised; multiply by the frame's width and height"
        )
    if np.nanmax(np.abs(pose), initial=0.0) > _PIXEL_LIMIT:
        raise ModelError(
            f"{name}: pose must be in pixels of the picture, found values up to {np.nanmax(np.abs(pose)):.4g}: give "
            "NaN for a joint that is not seen"
        )
    if np.nanmax(np.abs(world), initial=0.0) > _WORLD_LIMIT_M:
        raise ModelError(
            f"{name}: world must be in metres about the hips, found values up to {np.nanmax(np.abs(world)):.4g}"
        )
    return Person(pose, world, scores)


def check_body(person: Any, name: str) -> Person:
    """A Person of rotations from a Person or a (rotations, scores, id) tuple; `ModelError` says what is wrong."""
    if isinstance(person, Person):
        person = (person.rotations, person.scores, person.id)
    if not isinstance(person, (tuple, list)) or len(person) != 3:
        raise ModelError(f"{name} must be a Person or a (rotations, scores, id) tuple, found {_description(person)}")
    rotations = check_rotations(person[0], f"{name}: rotations")
    if rotations.ndim != 2:
        raise ModelError(f"{name}: rotations must be {ROTATION_FORMS}, found {list(np.shape(person[0]))}")
    if isinstance(person[2], bool) or not isinstance(person[2], int | np.integer) or person[2] < 0:
        raise ModelError(f"{name}: id must be a whole number from 0 on that says who it is, found {person[2]!r}")
    scores = _scores(person[1], np.isfinite(rotations).all(axis=1), SMPL_24, name)
    return Person.of_rotations(rotations, scores, int(person[2]))


def check_rotations(value: Any, name: str) -> np.ndarray:  # -> [..., 24, 6]
    """Rotations in any of `ROTATION_FORMS`, as 6 numbers. Leading axes stay; unseen joints are NaN."""
    array = as_numbers(value, name)
    shape, joints = array.shape, len(SMPL_24)
    if shape[-3:] == (joints, 3, 3):
        array = array.reshape(*shape[:-3], joints, 9)
    elif shape[-1:] in ((3 * joints,), (6 * joints,)):
        array = array.reshape(*shape[:-1], joints, -1)
    elif shape[-2:] not in ((joints, 3), (joints, 6)):
        raise ModelError(f"{name} must be {ROTATION_FORMS}, found {list(shape)}")
    seen = _finite_or_missing(array, SMPL_24, name)
    if array.shape[-1] == 3:
        most = np.nanmax(np.linalg.norm(array, axis=-1), initial=0.0)
        if most > _MOST_RADIANS:
            raise ModelError(
                f"{name} must be axis-angle in radians, found an angle of {most:.4g}: it looks like degrees"
            )
        return axis_angle_to_6d(array)
    if array.shape[-1] == 9:
        matrices = array.reshape(*array.shape[:-1], 3, 3)
        off = _off_unit(matrices[seen])
        if off > _COLUMN_TOLERANCE or (np.linalg.det(matrices[seen]) < 0).any():
            raise ModelError(
                f"{name} must be rotation matrices, found one whose columns are {off:.3g} off right "
                "angles and length 1, or that mirrors"
            )
        return matrix_to_6d(matrices)
    columns, rows = (array[seen].reshape(-1, *pair) for pair in ((3, 2), (2, 3)))
    if seen.any() and _off_unit(columns) > _COLUMN_TOLERANCE and _off_unit(rows.swapaxes(1, 2)) <= _COLUMN_TOLERANCE:
        raise ModelError(
            f"{name}: the 6 numbers look like the first two rows of the matrices; give the first two "
            "columns, row by row, or whole matrices, or axis-angle"
        )
    if np.linalg.norm(columns, axis=1).min(initial=1.0) < _SHORTEST_COLUMN:
        raise ModelError(
            f"{name}: 6 numbers must be the first two columns of a matrix, row by row; found a column of "
            f"length {np.linalg.norm(columns, axis=1).min():.3g}"
        )
    return array


def with_people(array: np.ndarray, axes: int) -> np.ndarray:  # [F, P, ...] or [F, ...] -> [F, P, ...]
    """The array with `axes` axes. The P axis is added where it was left out for one person."""
    return array[:, None] if array.ndim == axes - 1 else array


def _off_unit(columns: np.ndarray) -> float:  # [..., 3, C]
    """The most that columns are off length 1 and right angles."""
    gram = columns.swapaxes(-1, -2) @ columns
    return float(np.abs(gram - np.eye(columns.shape[-1])).max(initial=0.0))


def _scores(value: Any, seen: np.ndarray, skeleton: Skeleton, name: str) -> np.ndarray:  # seen: [J] -> [J]
    """Scores in 0..1, made 0 for joints that were not seen."""
    scores = np.where(seen, _numbers(value, seen.shape, f"{name}: scores"), 0.0)
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        joint = int(wrong.argmax())
        hint = ": they look like per cent; divide by 100" if scores[joint] > 1 else ""
        raise ModelError(f"{name}: scores must lie in 0..1, found {scores[joint]} at {skeleton.joints[joint]}{hint}")
    return scores


def _description(person: Any) -> str:
    """What a value is that is no person, for an error."""
    return f"{len(person)} values" if isinstance(person, (tuple, list)) else type(person).__name__


def as_numbers(value: Any, name: str) -> np.ndarray:
    """The value as an array of float64. `ModelError` where it does not hold numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ModelError(f"{name} must hold numbers, found dtype {array.dtype}")
    return array.astype(np.float64)


def _numbers(value: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    array = as_numbers(value, name)
    if array.shape != shape:
        raise ModelError(f"{name} must be {list(shape)}, found {list(array.shape)}")
    return array


def _joints(value: Any, dims: int, skeleton: Skeleton, name: str) -> np.ndarray:  # -> [J, dims]
    array = as_numbers(value, name)
    if array.shape != (len(skeleton), dims):
        raise ModelError(
            f"{name} must be {[len(skeleton), dims]}, found {list(array.shape)}{as_others(array.shape, skeleton)}"
        )
    _finite_or_missing(array, skeleton, name)
    return array


def as_others(shape: tuple[int, ...], skeleton: Skeleton) -> str:
    """For an error about joints [..., J, D] of a skeleton: which others have so many joints."""
    names = [other.name for other in LANDMARKS if len(shape) > 1 and len(other) == shape[-2] != len(skeleton)]
    return (
        f": {skeleton.name} was expected, and this may be {' or '.join(names)}, so name the skeleton" if names else ""
    )


def _finite_or_missing(array: np.ndarray, skeleton: Skeleton, name: str) -> np.ndarray:  # [..., J, axes] -> [..., J]
    """Which joints are finite. All others were not seen and must be NaN in every number."""
    finite, missing = np.isfinite(array).all(axis=-1), np.isnan(array).all(axis=-1)
    wrong = ~(finite | missing)
    if wrong.any():
        first = np.unravel_index(int(wrong.argmax()), wrong.shape)
        raise ModelError(
            f"{name}: a joint must be finite or all NaN (not seen), found {array[first].tolist()} at "
            f"{skeleton.joints[first[-1]]}"
        )
    return np.asarray(finite)


def warn_of_odd_poses(people: Sequence[Person], skeleton: Skeleton, name: str) -> None:
    """Log a warning where nearly all poses look as if y pointed upwards, or joints were in another order."""
    poses = np.array([person.pose for person in people[:: 1 + len(people) // _MOST_POSES]]).reshape(
        -1, len(skeleton), 2
    )
    if _is_in_another_order(poses, skeleton):
        others = [other for other in LANDMARKS if len(other) == len(skeleton) and other is not skeleton]
        fitting = [other.name for other in others if not _is_in_another_order(poses, other)]
        likely = f"this may be {' or '.join(fitting)}, so name the skeleton" if fitting else "give them in its order"
        logger.warning(
            "%s: joints that %s connects lie far apart in nearly all poses, as if joints were in another order: %s",
            name,
            skeleton.name,
            likely,
        )
        return
    shoulders, ankles = (
        poses[:, [skeleton.index(f"{side}_{part}") for side in ("left", "right")], 1].mean(axis=1)
        for part in ("shoulder", "ankle")
    )
    if _is_usual(shoulders > ankles, np.isfinite(shoulders + ankles)):
        logger.warning(
            "%s: shoulders lie below ankles in nearly all poses: if y points upwards there, give the height of the "
            "picture minus y; if joints are in another order than that of %s, name their skeleton",
            name,
            skeleton.name,
        )


def _is_in_another_order(poses: np.ndarray, skeleton: Skeleton) -> bool:  # [F, J, 2]
    """Whether joints that a bone connects lie about as far apart as any two joints, in nearly all poses."""
    joined = np.array(skeleton.bones)
    bones = ((poses[:, joined[:, 0]] - poses[:, joined[:, 1]]) ** 2).sum(axis=-1)  # [F, bones]
    known = np.isfinite(bones).sum(axis=1) >= _LEAST_BONES
    spread = np.nanvar(poses[known], axis=1).sum(axis=-1)
    # The mean square of the distance of two joints is twice their variance.
    long = np.zeros(len(poses), bool)
    long[known] = np.nanmean(bones[known], axis=1) > _LONG_BONES**2 * 2 * spread
    return _is_usual(long, known)


def _is_usual(is_odd: np.ndarray, known: np.ndarray) -> bool:  # [F] bool each
    return bool(known.sum() >= _LEAST_POSES and is_odd[known].mean() > _USUAL)


def check_ids(people: Sequence[Person], name: str) -> None:
    """`ModelError` where two people of one frame have the same id."""
    ids = [person.id for person in people if person.id is not None]
    if len(set(ids)) < len(ids):
        raise ModelError(f"{name}: two people have the same id (found {ids}); an id says who is who")

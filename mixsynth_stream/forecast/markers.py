"""Markers: a recording in a TRC file of this package, or of Pose2Sim and its kin, whose names of joints are OpenPose's.

TRC does not say where a pose comes from, so that all of them count as measured.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from mixsynth_stream.data.trc import read_markers
from mixsynth_stream.errors import SourceError
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import LANDMARKS, Skeleton

logger = logging.getLogger(__name__)

# Half a turn about x: y down and z away from the camera. It is its own reverse (export/trc.py).
_FROM_OPENSIM = np.array([1.0, -1.0, -1.0])
_NEEDED = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
_SIDES = {"L": "left_", "R": "right_", "": ""}
_NAME = re.compile(r"([LR]?)([A-Z][a-z]+(?:[A-Z][a-z]+)*)")
_PERSON = re.compile(r"_person(\d+)$")


def read_trc_recording(path: Path) -> Recording:
    """The person of a TRC file, about the middle of their hips. Raises `SourceError`, and `ValueError` of its form."""
    time_s, names, positions = read_markers(path)
    joints = [_joint(name) for name in names]
    skeleton = _skeleton_of(joints, names, path)
    world = np.full((len(time_s), len(skeleton), 3), np.nan)
    for marker, joint in enumerate(joints):
        if joint in skeleton.joints:
            world[:, skeleton.index(joint)] = positions[:, marker] * _FROM_OPENSIM
    hips = [skeleton.index(joint) for joint in _NEEDED[:2]]
    world = np.where(np.isfinite(world).all(axis=-1, keepdims=True), world, np.nan)
    world -= world[:, hips].mean(axis=1, keepdims=True)
    _check_upright(world, skeleton, path)
    match = _PERSON.search(path.stem)
    if match:
        logger.warning(
            "%s: TRC does not say which poses a run has filled in. These know what came after them, so that errors "
            "come out too small: give its poses.npz or poses.jsonl",
            path,
        )
    number = int(match[1]) if match else 0
    no_pose = np.full((len(skeleton), 2), np.nan)
    rows = np.flatnonzero(np.isfinite(world).any(axis=(1, 2)))
    return Recording(
        name=path.name,
        skeleton=skeleton,
        time_s=time_s[rows],
        people=[{number: Person(no_pose, pose, np.isfinite(pose[:, 0]).astype(np.float64))} for pose in world[rows]],
        numbers=rows,
    )


def _joint(marker: str) -> str:
    """A marker's name as skeletons have it: `right_big_toe` for RBigToe. Names of this package stay."""
    match = _NAME.fullmatch(marker)
    if match is None:
        return marker
    return _SIDES[match[1]] + re.sub(r"(?<!^)([A-Z])", r"_\1", match[2]).lower()


def _skeleton_of(joints: list[str], names: tuple[str, ...], path: Path) -> Skeleton:
    """The skeleton that has most of these joints, and the smallest of several."""
    missing = [joint for joint in _NEEDED if joint not in joints]
    if missing:
        raise SourceError(
            f"{path} has no marker {missing[0]}, and its markers are {', '.join(names[:8])}, ...: name joints as in "
            "docs/skeletons.md, or as OpenPose does (LHip, RHip, ...)"
        )
    return max(LANDMARKS, key=lambda one: (len({*joints} & {*one.joints}), -len(one)))


def _check_upright(world: np.ndarray, skeleton: Skeleton, path: Path) -> None:  # [T, J, 3], y down
    """Warn where bodies do not stand along y."""
    up = np.nanmedian(-world[:, [skeleton.index(joint) for joint in _NEEDED[2:]]].mean(axis=1), axis=0)
    if np.isfinite(up).all() and up[1] < np.abs(up).max():
        logger.warning("%s: shoulders do not lie above hips along y, which has to point upwards in a TRC file", path)

"""Reading: a recording of poses, in whatever form it lies on disk. Contents tell the form, not names alone."""

from __future__ import annotations

import csv
import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mixsynth_stream.console import shown
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.export.header import FORMAT
from mixsynth_stream.files import ARRAY_DAMAGE
from mixsynth_stream.forecast import markers, results
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.pipeline.estimators.checks import check_skeleton
from mixsynth_stream.pipeline.estimators.keypoint_files import KeypointFiles
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.skeleton import SMPL_24, Skeleton
from mixsynth_stream.spaces import GRID_HZ
from mixsynth_stream.weights import Model

logger = logging.getLogger(__name__)

_KINDS = (
    "poses of `run` (.jsonl, .csv, .npz, .trc), recorded estimates (.npz), COCO's or AlphaPose's JSON, or a folder of "
    "OpenPose's"
)
# Of a folder of results, the first of these.
_RESULTS = ("poses.npz", "poses.jsonl", "poses.csv")
# What a reader raises about a file that is none of its kind, or is damaged.
_DAMAGE = (*ARRAY_DAMAGE, IndexError, TypeError, StopIteration, csv.Error)


def read_recording(
    path: Path,
    pair: tuple[Model, Model],
    *,
    skeleton: str | None = None,
    rate_hz: float | None = None,
    max_people: int = 4,
) -> Recording:
    """The recording at a path. Raises `SourceError`.

    JSON of other programs has numbers of frames instead of times, `rate_hz` of them a second. Where a form does not say
    who is who, the `pair` of networks follows people, at most `max_people` of them, as it does in videos.
    """
    if not path.exists():
        raise SourceError(f"there is no file or folder {shown(path)}: check the name and the folder that you are in")
    recording = _own_result(path, rate_hz) or _of_estimates(path, pair, skeleton, rate_hz, max_people)
    if skeleton is not None and _kind(skeleton) != recording.skeleton:
        raise SourceError(f"{shown(path)} is of {recording.skeleton.name}: leave --skeleton {skeleton} out")
    return recording


def poses_in(path: Path) -> Path:
    """The path, or, where it is a folder of results, that of its poses."""
    return next((path / name for name in _RESULTS if path.is_dir() and (path / name).is_file()), path)


def _own_result(path: Path, rate_hz: float | None) -> Recording | None:
    """The recording in a result of this package, or in markers; None for estimates."""
    if path.is_dir():
        return None
    try:
        reader = _own_reader(path)
        if rate_hz is not None and (reader is not None or path.suffix.lower() == ".npz"):
            raise SourceError(f"{shown(path)} has times of its own: leave --rate out")
        return None if reader is None else reader(path)
    except SourceError:
        raise
    except _DAMAGE as error:
        cause = str(error) or type(error).__name__
        raise SourceError(f"{shown(path)} cannot be read as a recording of poses ({cause}): give {_KINDS}") from error


def _own_reader(path: Path) -> Callable[[Path], Recording] | None:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no npz archive, or not all of it")
        with np.load(path, allow_pickle=False) as arrays:
            return results.read_npz if "header" in arrays else None
    if suffix == ".trc":
        return markers.read_trc_recording
    if suffix == ".csv":
        return results.read_csv
    if suffix == ".jsonl" or _begins_as_ours(path):
        return results.read_jsonl
    if suffix != ".json":
        raise ValueError(f"its name ends in {suffix or 'nothing'}")
    return None


def _begins_as_ours(path: Path) -> bool:
    """Whether the first line of a file is the header of `poses.jsonl`."""
    with path.open("rb") as file:
        head = file.read(200)
    return head.startswith(json.dumps({"format": FORMAT}, separators=(",", ":"))[:-1].encode())


def _of_estimates(
    path: Path, pair: tuple[Model, Model], skeleton: str | None, rate_hz: float | None, max_people: int
) -> Recording:
    """The recording in estimates. Who is who is found as in a video whose every frame is a keyframe."""
    try:
        times, frames, numbers, kind = _estimates(path, skeleton, rate_hz)
    except ModelError as error:
        raise SourceError(str(error)) from error
    people = People(pair, kind.name, max_people=max_people)
    height_px = max([float(np.nanmax(one.pose[:, 1], initial=1.0)) for frame in frames for one in frame], default=1.0)
    by_frame: list[dict[int, Person]] = []
    for time_s, detections in zip(times.tolist(), frames, strict=True):
        people.observe([one for one in detections if results.is_known(one)], time_s, height_px)
        by_frame.append(dict(people.seen))
    rows = [row for row, seen in enumerate(by_frame) if seen]
    return Recording(
        name=path.name,
        skeleton=kind,
        time_s=times[rows],
        people=[by_frame[row] for row in rows],
        numbers=np.array(numbers)[rows],
    )


def _estimates(
    path: Path, skeleton: str | None, rate_hz: float | None
) -> tuple[np.ndarray, list[list[Person]], list[int], Skeleton]:
    """Times [F], people and numbers of the frames, and the skeleton. Raises `ModelError`, and `SourceError`."""
    if path.is_dir() or path.suffix.lower() == ".json":
        files = KeypointFiles(path, skeleton)
        if rate_hz is None:
            logger.warning("%s has no times: taking %g frames a second (--rate)", path, GRID_HZ)
        numbers = files.numbers
        times = np.array(numbers) / (rate_hz or GRID_HZ)
        return times, [files.of_frame(number) for number in numbers], numbers, check_skeleton(files.skeleton)
    estimates = ArrayEstimator(path, skeleton)
    if estimates.skeleton == SMPL_24.name:
        raise SourceError(results.rotations_error(path))
    numbers = list(range(len(estimates.time_s)))
    return estimates.time_s, estimates.people, numbers, check_skeleton(estimates.skeleton)


def _kind(name: str) -> Skeleton:
    try:
        return check_skeleton(name)
    except ModelError as error:
        raise SourceError(str(error)) from error

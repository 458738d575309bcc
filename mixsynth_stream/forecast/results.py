"""Results: recordings in the formats that `run` writes. Only measured joints count.

A filled pose knows the keyframe after it, so that what is forecast from it would know the future.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import SourceError
from mixsynth_stream.export.header import FORMAT, ORIGIN_WORDS
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.pipeline.motion import Origin, Person
from mixsynth_stream.skeleton import LANDMARKS, SMPL_24, Skeleton

logger = logging.getLogger(__name__)

_MEASURED = str(Origin.MEASURED.value)
# Of one person in one frame: number and time of the frame, id, and the person.
Sighting = tuple[int, float, int, Person]


def read_jsonl(path: Path) -> Recording:
    """The recording in a `poses.jsonl`, of frames that are final. A last line that breaks off is left out."""
    with path.open("rb") as file:
        header = json.loads(next(file))
        skeleton = skeleton_of(header, path)
        return _recording(path, skeleton, _jsonl_sightings(file, skeleton, path), _size(header))


def read_npz(path: Path) -> Recording:
    """The recording in a `poses.npz`."""
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(str(arrays["header"]))
        skeleton = skeleton_of(header, path)
        names = ("index", "time_s", "id", "pose_px", "world_m", "score", "origin")
        rows = zip(*(arrays[name] for name in names), strict=True)
        sightings = (
            (
                int(index),
                float(time_s),
                int(number),
                _person(skeleton, *values, is_measured=values[-1] == Origin.MEASURED),
            )
            for index, time_s, number, *values in rows
        )
        return _recording(path, skeleton, sightings, _size(header))


def read_csv(path: Path) -> Recording:
    """The recording in a `poses.csv`. The names of its joints tell the skeleton."""
    with path.open(newline="", encoding="utf-8") as file:
        blocks = (list(rows) for _, rows in groupby(csv.DictReader(file), key=lambda row: (row["index"], row["id"])))
        first = next(blocks, None)
        if first is None:
            raise SourceError(f"{path} holds no poses: give a recording of people")
        if "x_rad" in first[0]:
            raise SourceError(rotations_error(path))
        joints = [row["joint"] for row in first]
        skeleton = next((one for one in LANDMARKS if list(one.joints) == joints), None)
        if skeleton is None:
            raise SourceError(
                f"{path} has {len(joints)} joints ({joints[0]}, ...), which are those of none of "
                f"{', '.join(one.name for one in LANDMARKS)}: give all of it"
            )
        width = first[0].get("width")
        size = (int(width), int(first[0]["height"])) if width else None
        return _recording(path, skeleton, _csv_sightings(chain([first], blocks), skeleton), size)


def skeleton_of(header: Mapping[str, Any], path: Path) -> Skeleton:
    """The skeleton of a result by its header. `SourceError` where it is none of places."""
    name = str(header.get("skeleton"))
    if header.get("format") != FORMAT:
        raise SourceError(f"{path} says that its format is {header.get('format')!r}: give poses that `run` wrote")
    if name == SMPL_24.name:
        raise SourceError(rotations_error(path))
    skeleton = next((one for one in LANDMARKS if one.name == name), None)
    if skeleton is None:
        raise SourceError(f"{path} has the skeleton {name!r}: give one of {', '.join(one.name for one in LANDMARKS)}")
    return skeleton


def is_known(person: Person) -> bool:
    """Whether any joint of a person is known, in the picture or in metres."""
    return bool(np.isfinite(person.pose).any() or np.isfinite(person.world).any())


def _jsonl_sightings(lines: Iterable[bytes], skeleton: Skeleton, path: Path) -> Iterator[Sighting]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            if line.endswith(b"\n"):
                raise
            logger.warning("%s breaks off within its last line: the poses before it count", path)
            return
        if not record.get("final", False):
            continue
        for one in record["people"]:
            is_measured = np.array([digit == _MEASURED for digit in one["origin"]])
            values = (one["pose_px"], one["world_m"], one["scores"])
            person = _person(skeleton, *values, is_measured=is_measured)
            yield record["index"], record["time_s"], one["id"], person


def _csv_sightings(blocks: Iterable[list[dict[str, str]]], skeleton: Skeleton) -> Iterator[Sighting]:
    """Of blocks of one person in one frame each. A last one that breaks off is left out."""
    columns = ("x_px", "y_px", "x_m", "y_m", "z_m", "score")
    for block in blocks:
        if len(block) < len(skeleton) or None in block[-1].values():
            return
        values = np.array([[float(row[name] or "nan") for name in columns] for row in block])
        is_measured = np.array([row["origin"] == ORIGIN_WORDS[Origin.MEASURED] for row in block])
        person = _person(skeleton, values[:, :2], values[:, 2:5], values[:, 5], is_measured=is_measured)
        yield int(block[0]["index"]), float(block[0]["time_s"]), int(block[0]["id"]), person


def _person(skeleton: Skeleton, *values: Any, is_measured: np.ndarray) -> Person:
    """A person with what was measured of them."""
    joints = len(skeleton)
    pose, world, scores = (
        np.array(part, np.float64).reshape(joints, *shape)
        for part, shape in zip(values, ((2,), (3,), ()), strict=False)
    )
    return Person(
        np.where(is_measured[:, None], pose, np.nan),
        np.where(is_measured[:, None], world, np.nan),
        np.where(is_measured, np.nan_to_num(scores), 0.0),
    )


def _recording(
    path: Path, skeleton: Skeleton, sightings: Iterable[Sighting], size: tuple[int, int] | None
) -> Recording:
    frames: dict[int, tuple[float, dict[int, Person]]] = {}
    for index, time_s, number, person in sightings:
        if is_known(person):
            frames.setdefault(index, (time_s, {}))[1][number] = person
    order = sorted(frames)
    return Recording(
        name=path.name,
        skeleton=skeleton,
        time_s=np.array([frames[index][0] for index in order]),
        people=[frames[index][1] for index in order],
        size=size,
        numbers=np.array(order, np.int64),
    )


def _size(header: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = header.get("width"), header.get("height")
    return (int(width), int(height)) if width and height else None


def rotations_error(path: Path) -> str:
    """The sentence about rotations of SMPL."""
    return (
        f"{path} holds rotations of {SMPL_24.name}, for which no weights ship: give poses in pixels or metres, or run "
        "the rotations with --weights of your own"
    )

"""KeypointFiles: replays estimates from JSON, as OpenPose, Sports2D, AlphaPose, MMPose and COCO's tools write them.

They have numbers of frames instead of times. A folder holds a file a frame, which is read when its frame comes.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.checks import check_person, check_skeleton, warn_of_odd_poses
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33, BODY_25, COCO_17, HALPE_26, OPENPOSE_18, WHOLEBODY_133, Skeleton

logger = logging.getLogger(__name__)

# The skeleton of files that do not name one, by its number of joints.
BY_COUNT = {
    len(skeleton): skeleton for skeleton in (COCO_17, OPENPOSE_18, BODY_25, HALPE_26, BLAZEPOSE_33, WHOLEBODY_133)
}
_NUMBER = re.compile(r"(\d+)(?:_keypoints)?$")
_FILE = re.compile(r"(\d+)(?:_keypoints)?\.json$")
# Of a folder, so many files with people tell the skeleton and the range of scores.
_SAMPLE = 20
# Of so many people at least it is told early whether they fit.
_PEOPLE = 500
# Scores of networks may lie a little above 1; larger ones are per cent.
_LITTLE_ABOVE, _PER_CENT = 2.0, 100.0
# COCO's annotations say how visible a joint is instead: not labelled, hidden, visible.
_VISIBILITY = {0.0, 1.0, 2.0}

# Of one person: x, y and score of each joint.
_Joints = np.ndarray  # [J, 3] pixels and score


class KeypointFiles:
    """Estimates from a folder of OpenPose's JSON, or from one file of all frames (COCO results, AlphaPose, MMPose).

    Frames count from 0, or from 1 where there is a frame 1 and no frame 0. A joint at (0, 0) or with a score below 0
    was not seen, and scores of 0..100 are read as per cent. The skeleton follows from the number of joints unless it is
    given: 17 is COCO-17.
    """

    def __init__(self, path: str | os.PathLike[str], skeleton: str | None = None) -> None:
        self._path = Path(path)
        self._frames: Mapping[int, Any] = _files(self._path) if self._path.is_dir() else _records(self._path)
        self._is_folder = self._path.is_dir()
        self._last = max(self._frames, default=-1)
        self._is_over = False
        sample = self._sample()
        if not sample:
            raise ModelError(f"{self._path} has no people in it: give estimates of this video")
        self._kind = self._skeleton_of(sample, skeleton)
        self.skeleton = self._kind.name
        self._unit = _score_unit(np.concatenate([joints[:, 2] for joints in sample]), str(self._path))
        some = sample[:: 1 + len(sample) // _PEOPLE]
        people = [self._person(joints, str(self._path)) for joints in some]
        warn_of_odd_poses(people, self._kind, str(self._path))

    @property
    def numbers(self) -> list[int]:
        """The frames that there are, in order."""
        return sorted(self._frames)

    def of_frame(self, index: int) -> list[Person]:
        """The people of a frame. Nobody is seen where the files have no such frame."""
        if index > self._last and not self._is_over:
            self._is_over = True
            logger.warning("%s ends with frame %d, and the video goes on: nobody is seen there", self._path, self._last)
        where = f"{self._path}, frame {index}"
        people = [self._person(joints, f"{where}, person {p}") for p, joints in enumerate(self._joints(index))]
        return [person for person in people if np.isfinite(person.pose).any()]

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8, not used
        """Not possible: the files have no times."""
        raise ModelError(f"{self._path} has numbers of frames and no times: ask of_frame(index)")

    def covers(self, step_s: float) -> bool:
        """Whether there are estimates for every frame, however far apart they lie."""
        return True

    def forget(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to free."""

    def _joints(self, index: int) -> list[_Joints]:
        entry = self._frames.get(index, ())
        return _of_file(self._path / entry) if isinstance(entry, str) else list(entry)

    def _sample(self) -> list[_Joints]:
        """The people of the first frames that have some, or of all frames where they are in memory."""
        sample: list[_Joints] = []
        frames = 0
        for index in sorted(self._frames):
            joints = self._joints(index)
            sample += joints
            frames += bool(joints)
            if self._is_folder and frames >= _SAMPLE:
                break
        return sample

    def _skeleton_of(self, sample: list[_Joints], name: str | None) -> Skeleton:
        count = len(sample[0])
        if name is None:
            if count in BY_COUNT:
                return BY_COUNT[count]
            known = ", ".join(f"{joints} ({skeleton.name})" for joints, skeleton in sorted(BY_COUNT.items()))
            raise ModelError(f"{self._path} has people of {count} joints, which no skeleton here has: give {known}")
        kind = check_skeleton(name)
        if len(kind) != count:
            raise ModelError(
                f"{self._path} has people of {count} joints, but {kind.name} has {len(kind)}: give their own skeleton, "
                "or none"
            )
        return kind

    def _person(self, joints: _Joints, name: str) -> Person:
        if len(joints) != len(self._kind):
            raise ModelError(f"{name} has {len(joints)} joints, and others have {len(self._kind)}: give one skeleton")
        scores = np.nan_to_num(joints[:, 2]) / self._unit
        # RTMPose gives a joint that it does not see no place, and a score of 0 or a little below.
        seen = np.isfinite(joints[:, :2]).all(axis=1) & (joints[:, :2] != 0).any(axis=1) & (scores >= 0)
        if (scores[seen] > (_LITTLE_ABOVE if self._unit == 1 else 1)).any():
            raise ModelError(f"{name} has a score of {joints[seen, 2].max():g}, and others are 0..{self._unit:g}")
        pose = np.where(seen[:, None], joints[:, :2], np.nan)
        return check_person((pose, None, np.clip(scores, None, 1.0)), name, self._kind)


def _files(folder: Path) -> dict[int, str]:
    """The names of a folder's files by frame, one a frame."""
    files: dict[int, str] = {}
    for name in sorted(os.listdir(folder)):
        match = _FILE.search(name)
        if match is None:
            continue
        number = int(match[1])
        if number in files:
            raise ModelError(
                f"{folder} has two files of frame {number}, {files[number]} and {name}: give a folder of one video"
            )
        files[number] = name
    if not files:
        raise ModelError(
            f"{folder} holds no files such as video_000000000012_keypoints.json: give OpenPose's JSON folder"
        )
    return _from_zero(files)


def _records(path: Path) -> dict[int, list[_Joints]]:
    """The people of a file by frame."""
    data = _load(path)
    numbers: dict[Any, int] = {}
    if isinstance(data, dict):
        if "people" in data:
            return {0: _of_openpose(data, str(path))}
        if data and all(isinstance(frame, dict) and "people" in frame for frame in data.values()):
            # AlphaPose's `--format open` has the frames by the names of their pictures.
            return {_number(name, str(path)): _of_openpose(frame, f"{path}, {name}") for name, frame in data.items()}
        if isinstance(data.get("instance_info"), list):
            return _of_mmpose(data["instance_info"], path)
        if isinstance(data.get("annotations"), list):
            numbers = _numbers_of_images(data.get("images"), path)
            data = data["annotations"]
    if not isinstance(data, list):
        raise ModelError(
            f"{path} holds neither a list of keypoints by image_id nor OpenPose's people: give the results of "
            "AlphaPose, MMPose or COCO's tools, or a folder of OpenPose's files"
        )
    if data and isinstance(data[0], dict) and "instances" in data[0]:
        return _of_mmpose(data, path)
    return _of_coco(data, numbers, path)


def _of_coco(entries: list[Any], numbers: Mapping[Any, int], path: Path) -> dict[int, list[_Joints]]:
    """COCO's results or annotations, one a person; `numbers` of their frames by image_id, where they are known."""
    frames: dict[int, list[_Joints]] = {}
    is_counted = False
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict) or "keypoints" not in entry or "image_id" not in entry:
            raise ModelError(f"{where} must have image_id and keypoints, found {_shape(entry)}")
        image_id = entry["image_id"]
        if not isinstance(image_id, int | float | str):
            raise ModelError(f"{where} must have a number or a name as its image_id, found {_shape(image_id)}")
        is_counted |= isinstance(image_id, int) and not numbers
        frame = numbers[image_id] if image_id in numbers else _number(image_id, where)
        if entry["keypoints"]:
            frames.setdefault(frame, []).append(_triples(entry["keypoints"], where))
    return _from_zero(frames) if is_counted else frames


def _numbers_of_images(images: Any, path: Path) -> dict[Any, int]:
    """The numbers of frames by the ids of COCO's images, in the order of their file names."""
    images = images or []
    is_listed = isinstance(images, list) and all(isinstance(image, dict) for image in images)
    if not is_listed or not all(isinstance(image.get("id"), int | str) for image in images):
        raise ModelError(f"{path} must have images with an id each, as COCO's annotations do, found {_shape(images)}")
    in_order = sorted(images, key=lambda image: str(image.get("file_name", "")))
    return {image["id"]: number for number, image in enumerate(in_order)}


def _of_mmpose(frames: list[Any], path: Path) -> dict[int, list[_Joints]]:
    """The people of MMPose's list of frames, whose numbers start at 0 or 1: they are all there, and in order."""
    people: dict[int, list[_Joints]] = {}
    for number, frame in enumerate(frames):
        where = f"{path}, frame {number}"
        instances = frame.get("instances") if isinstance(frame, dict) else None
        if not isinstance(instances, list):
            raise ModelError(f"{where} must have instances, found {_shape(frame)}")
        people[number] = _of_instances(instances, where)
    return people


def _of_instances(instances: list[Any], where: str) -> list[_Joints]:
    """The people of one frame, as MMPose writes them."""
    people = []
    for one in instances:
        if not isinstance(one, dict) or not {"keypoints", "keypoint_scores"} <= one.keys():
            raise ModelError(f"{where} must have keypoints and keypoint_scores for each person, found {_shape(one)}")
        places, scores = _numbers(one["keypoints"], where), _numbers(one["keypoint_scores"], where)
        if places.ndim != 2 or places.shape[1] != 2 or scores.shape != places.shape[:1]:
            raise ModelError(
                f"{where} must have [J, 2] keypoints in pixels and [J] keypoint_scores, found {list(places.shape)} "
                f"and {list(scores.shape)}"
            )
        people.append(np.column_stack([places, scores]))
    return people


def _of_file(path: Path) -> list[_Joints]:
    """The people of the one frame of a file: OpenPose's, or MMPose's of a picture, which is a list."""
    data = _load(path)
    return _of_instances(data, str(path)) if isinstance(data, list) else _of_openpose(data, str(path))


def _of_openpose(data: Any, where: str) -> list[_Joints]:
    """The people of one frame, as OpenPose writes them."""
    people = data.get("people") if isinstance(data, dict) else None
    if not isinstance(people, list):
        raise ModelError(f"{where} must have people, as OpenPose writes them, found {_shape(data)}")
    lists = [one.get("pose_keypoints_2d") if isinstance(one, dict) else None for one in people]
    if any(joints is None for joints in lists):
        raise ModelError(f"{where} must have pose_keypoints_2d for each of its people, found {_shape(people[0])}")
    return [_triples(joints, where) for joints in lists if joints]


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(
            f"there is no file or folder of estimates {str(path)!r}: check the name and the folder that you are in"
        ) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no JSON, or is cut off ({error}): write it again") from error


def _triples(values: Any, where: str) -> _Joints:
    numbers = _numbers(values, where)
    if numbers.ndim != 1 or numbers.size % 3 or not numbers.size:
        raise ModelError(
            f"{where} must have x, y and score for each joint in a row, found {list(numbers.shape)} numbers"
        )
    return numbers.reshape(-1, 3)


def _numbers(values: Any, where: str) -> np.ndarray:
    try:
        return np.array(values, np.float64)  # null is NaN
    except (TypeError, ValueError, OverflowError):
        raise ModelError(f"{where} must have numbers for keypoints, found {_shape(values)}") from None


def _number(image_id: Any, where: str) -> int:
    """The number of a frame: an image_id of 12, "12.jpg" or "frame_0012.png"."""
    if isinstance(image_id, int):
        return image_id
    match = _NUMBER.search(Path(str(image_id)).stem)
    if match is None:
        raise ModelError(
            f"{where} has the image_id {image_id!r}, which has no number of a frame: name images by number"
        )
    return int(match[1])


def _from_zero(frames: dict[int, Any]) -> dict[int, Any]:
    """Frames that count from 1 count from 0."""
    return {number - 1: entry for number, entry in frames.items()} if min(frames, default=0) == 1 else frames


def _score_unit(scores: np.ndarray, name: str) -> float:
    """What a score of 1 is in these files."""
    highest = float(np.nanmax(scores, initial=0.0))
    if highest == max(_VISIBILITY) and set(np.unique(scores).tolist()) <= _VISIBILITY:
        return highest
    if highest <= _LITTLE_ABOVE:
        return 1.0
    if highest > _PER_CENT:
        raise ModelError(f"{name} has scores up to {highest:g}: they must lie in 0..1, or 0..100")
    return _PER_CENT


def _shape(value: Any) -> str:
    """What a value is, for an error."""
    return (
        f"an object with {', '.join(map(str, list(value)[:6])) or 'nothing'}"
        if isinstance(value, dict)
        else repr(value)[:60]
    )

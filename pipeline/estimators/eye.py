"""MediaPipeEye: MediaPipe's landmark network on a region that is known, and its person detector alone."""

from __future__ import annotations

import numpy as np

from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, bundle_path, look_bundle
from mixsynth_stream.pipeline.estimators.detector import Landmarker, PersonDetector
from mixsynth_stream.pipeline.estimators.mediapipe import person_of
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33

# The side of the landmark network's input, in pixels.
_LOOK_SIZE = 256
# The landmark network draws a torso that is turned in its region too upright, and the other joints where they are. For
# each radian of turn that is left to see, the joints miss so many torso lengths sideways (docs/estimator-modes.md).
_MISSED = {"shoulder": 0.15, "elbow": 0.06, "hip": -0.2, "knee": -0.06}
_MISSED_BY_JOINT = np.array([_MISSED.get(name.split("_")[-1], 0.0) for name in BLAZEPOSE_33.joints])
_SHOULDERS, _HIPS = (
    [BLAZEPOSE_33.index(f"{side}_{joint}") for side in ("left", "right")] for joint in ("shoulder", "hip")
)


class MediaPipeEye:
    """An `Eye` of two graphs: a constant detector before the landmark network, and the detector alone.

    model: as of `MediaPipeEstimator`. Both graphs are opened here, so that a model that does not work is refused before
    the first frame: `ModelError`, as where MediaPipe cannot be used.
    """

    skeleton = BLAZEPOSE_33.name
    width = 1.0

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        self.model = str(model)
        self.path = bundle_path(self.model)
        self._detector: PersonDetector | None = PersonDetector(self.model)
        self._landmarks = Landmarker(look_bundle(self.model).packed(), self.path, people=1)

    def look(self, rgb: np.ndarray, region: Region) -> Person | None:  # rgb: [H, W, 3] uint8
        """The person in the region, or None."""
        self._open()
        result = self._landmarks.detect(region.crop(rgb, _LOOK_SIZE))
        if not result.pose_landmarks:
            return None
        person = person_of(result.pose_landmarks[0], result.pose_world_landmarks[0], 1.0, 1.0)
        return turned_on(Person(region.in_picture(person.pose), region.turned(person.world), person.scores), region)

    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:  # rgb: [H, W, 3] uint8
        """Regions as the detector gives them, the surest first."""
        return self._open().find(rgb, part)

    def _open(self) -> PersonDetector:
        if self._detector is None:
            raise ValueError("this MediaPipeEye is closed")
        return self._detector

    def close(self) -> None:
        """Free the networks; the eye cannot be used afterwards."""
        if self._detector is not None:
            self._landmarks.close()
            self._detector.close()
            self._detector = None


def turned_on(person: Person, region: Region) -> Person:
    """The person with the torso turned on by what the landmark network missed in this region."""
    own = Region.of_pose(person.pose, margin=1.0)
    if own is None:
        return person
    turn = region.turn(own)
    # World poses have their origin between the hips, so that all else moves by as much the other way.
    return Person(
        person.pose + turn * _MISSED_BY_JOINT[:, None] * _across(person.pose),
        person.world + turn * (_MISSED_BY_JOINT - _MISSED["hip"])[:, None] * _across(person.world),
        person.scores,
    )


def _across(pose: np.ndarray) -> np.ndarray:  # [33, C] -> [C]
    """The way from the hips to the shoulders, turned clockwise by 90 degrees in the picture's plane."""
    up = pose[_SHOULDERS].mean(axis=0) - pose[_HIPS].mean(axis=0)
    return np.array([-up[1], up[0], *np.zeros(len(up) - 2)])

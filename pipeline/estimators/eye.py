"""MediaPipeEye: MediaPipe's landmark network on a region that is known, and its person detector alone."""

from __future__ import annotations

import contextlib
import importlib
import weakref
from math import atan2, hypot
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.memory import give_memory_back
from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, bundle_path, find_bundle, look_bundle
from mixsynth_stream.pipeline.estimators.mediapipe import (
    checked_rgb,
    close_landmarker,
    import_mediapipe,
    open_bundle,
    person_of,
    quiet_stderr,
)
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33

# The sides of the networks' inputs, in pixels.
_LOOK_SIZE, _FIND_SIZE = 256, 224
# The detector gives at most so many people of a picture.
_MOST_PEOPLE = 8
_WHOLE = np.ones(2)
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

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        self.model = str(model)
        self.path = bundle_path(self.model)
        try:
            importlib.import_module("mixsynth_stream._C")
        except ImportError as error:
            raise ModelError(
                f"a region of a picture is cropped by the C++ extension, which is missing ({error}): build it with "
                "`pip install -e .`, or search each keyframe (--eye keyframe)"
            ) from error
        self._mediapipe: Any = import_mediapipe()
        self._look = open_bundle(self._mediapipe, look_bundle(self.model).packed(), self.path, people=1)
        self._find = open_bundle(self._mediapipe, find_bundle(self.model).packed(), self.path, people=_MOST_PEOPLE)
        self._ends = [weakref.finalize(self, close_landmarker, graph) for graph in (self._look, self._find)]
        self._quiet = [self._look, self._find]  # graphs that have not seen anybody yet: until then they log

    def look(self, rgb: np.ndarray, region: Region) -> Person | None:  # rgb: [H, W, 3] uint8
        """The person in the region, or None."""
        result = self._detect(self._look, region.crop(rgb, _LOOK_SIZE))
        if not result.pose_landmarks:
            return None
        person = person_of(result.pose_landmarks[0], result.pose_world_landmarks[0], *_WHOLE)
        return turned_on(Person(region.in_picture(person.pose), region.turned(person.world), person.scores), region)

    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:  # rgb: [H, W, 3] uint8
        """Regions as the detector gives them, the surest first."""
        height, width = checked_rgb(rgb).shape[:2]
        picture = np.ascontiguousarray(rgb) if part is None else part.crop(rgb, _FIND_SIZE)
        size = np.array([width, height]) if part is None else _WHOLE
        regions = []
        for landmarks in self._detect(self._find, picture).pose_landmarks:
            # The constant landmark network gives the region's corners, from the upper left one clockwise.
            corners = np.array([(one.x, one.y) for one in landmarks[:4]]) * size
            corners = corners if part is None else part.in_picture(corners)
            x, y = corners.mean(axis=0)
            right_x, right_y = corners[1] - corners[0]
            regions.append(Region(float(x), float(y), hypot(right_x, right_y), atan2(right_y, right_x)))
        return regions

    def _detect(self, graph: Any, picture: np.ndarray) -> Any:
        if graph is None:
            raise ValueError("this MediaPipeEye is closed")
        image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, picture)
        is_quiet = any(graph is other for other in self._quiet)
        with quiet_stderr() if is_quiet else contextlib.nullcontext():
            result = graph.detect(image)
        if is_quiet and result.pose_landmarks:
            self._quiet = [other for other in self._quiet if other is not graph]
        return result

    def close(self) -> None:
        """Free the networks; the eye cannot be used afterwards."""
        for end in self._ends:
            end()
        self._look = self._find = None
        self._quiet = []
        give_memory_back()


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

"""OnnxEye: a network for one person (RTMPose, ViTPose) on a region that is known, beside MediaPipe's detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixsynth_stream.pipeline.estimators.detector import PersonDetector
from mixsynth_stream.pipeline.estimators.onnx.model import SIMCC, OnnxModel
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Person

# Of ImageNet, in red, green and blue, 0..255: MMPose, ViTPose and their kin are trained with it.
_MEAN = np.array([123.675, 116.28, 103.53])
_STD = np.array([58.395, 57.12, 57.375])
# Where the joints score less than this on average, the region shows nobody.
_LEAST_SCORE = 0.15
# Heat below this is none, and has no logarithm.
_LEAST_HEAT = 1e-6


class OnnxEye:
    """An `Eye` of a network with the head SIMCC or HEATMAP. It gives pixels; world poses are not known."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.skeleton = model.skeleton.name
        self.width = min(model.width / model.height, 1.0)
        self._detector: PersonDetector | None = PersonDetector()

    def look(self, rgb: np.ndarray, region: Region) -> Person | None:  # rgb: [H, W, 3] uint8
        """The person in the region, or None."""
        self._open()
        model = self._model
        size = max(model.height, model.width)
        # The network's picture is as high as the region, and lies in the middle of a square.
        square = replace(region, side=region.side * size / model.height)
        top, left = (size - model.height) // 2, (size - model.width) // 2
        picture = square.crop(rgb, size)[top : top + model.height, left : left + model.width]
        outputs = model.run((picture - _MEAN) / _STD)
        joints_of = simcc_joints if model.head == SIMCC else heatmap_joints
        places, scores = joints_of(*outputs, width=model.width, height=model.height)
        if scores.mean() < _LEAST_SCORE:
            return None
        # A place is the middle of a pixel.
        pose = square.in_picture((places + 0.5 + [left, top]) / size)
        return Person(pose, np.full((len(pose), 3), np.nan), scores)

    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:  # rgb: [H, W, 3] uint8
        """Regions as MediaPipe's detector gives them, the surest first."""
        return self._open().find(rgb, part)

    def _open(self) -> PersonDetector:
        if self._detector is None:
            raise ValueError("this OnnxEye is closed")
        return self._detector

    def close(self) -> None:
        """Free the detector; the eye cannot be used afterwards."""
        if self._detector is not None:
            self._detector.close()
            self._detector = None


def simcc_joints(
    columns: np.ndarray,  # [K, X]
    rows: np.ndarray,  # [K, Y]
    *,
    width: int,
    height: int,
) -> tuple[np.ndarray, np.ndarray]:  # -> [K, 2], [K]
    """The pixels of a picture in which the joints are, with fractions, and their scores.

    As MMPose decodes SimCC: the place of the largest value, and of both values the smaller one as the score.
    """
    places = [columns.argmax(axis=1) * width / columns.shape[1], rows.argmax(axis=1) * height / rows.shape[1]]
    return np.stack(places, axis=1), np.clip(np.minimum(columns.max(axis=1), rows.max(axis=1)), 0.0, 1.0)


def heatmap_joints(
    heat: np.ndarray,  # [K, h, w]
    *,
    width: int,
    height: int,
) -> tuple[np.ndarray, np.ndarray]:  # -> [K, 2], [K]
    """The pixels of a picture in which the joints are, with fractions, and their scores.

    The place of the most heat, and between its neighbours that of the bell through their logarithms. The first and the
    last place are the first and the last pixel, as in UDP (Huang et al., CVPR 2020), which ViTPose uses.
    """
    joints, *size = heat.shape
    flat = heat.reshape(joints, -1)
    y, x = np.unravel_index(flat.argmax(axis=1), size)
    logs = np.log(np.maximum(np.pad(heat, ((0, 0), (1, 1), (1, 1)), mode="edge"), _LEAST_HEAT))
    every = np.arange(joints)
    middle = logs[every, y + 1, x + 1]
    places = np.stack(
        [
            x + _peak(logs[every, y + 1, x], middle, logs[every, y + 1, x + 2]),
            y + _peak(logs[every, y, x + 1], middle, logs[every, y + 2, x + 1]),
        ],
        axis=1,
    )
    steps = np.array([(width - 1) / (size[1] - 1), (height - 1) / (size[0] - 1)])
    return places * steps, np.clip(flat.max(axis=1), 0.0, 1.0)


def _peak(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far the top of a parabola lies from the middle one of three places, at most half a step."""
    bend = before - 2 * middle + after
    is_bent = bend < -_LEAST_HEAT
    return np.where(is_bent, np.clip((before - after) / np.where(is_bent, 2 * bend, 1.0), -0.5, 0.5), 0.0)

"""YoloEstimator: a YOLO pose network on the whole picture."""

from __future__ import annotations

import numpy as np

from mixsynth_stream.pipeline.estimators.detector import check_crop
from mixsynth_stream.pipeline.estimators.figure import Figure
from mixsynth_stream.pipeline.estimators.mediapipe import checked_rgb
from mixsynth_stream.pipeline.estimators.onnx.model import YOLO, OnnxModel
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Expected, Person

# People who score less are none.
_LEAST_SCORE = 0.25
# Of two boxes that share so much of what both cover, one is a double.
_MOST_SHARED = 0.65
# The grey around a picture that has not the shape of the input, as in training.
_GREY = 114
# Of more people than may be given, those within so many body scales of somebody expected come first.
_NEAR = 2.0


class YoloEstimator:
    """Poses of up to `max_people` people in pixels, by one call of the network a picture, however many there are."""

    follows = True

    def __init__(self, model: OnnxModel, *, max_people: int = 1) -> None:
        if max_people < 1:
            raise ValueError(f"max_people must be at least 1, found {max_people}")
        check_crop()
        self._model = model
        self._figure = Figure(model.skeleton.name)
        self.skeleton = model.skeleton.name
        self.max_people = max_people

    def __call__(
        self,
        rgb: np.ndarray,  # [H, W, 3] uint8
        time_s: float,
        *,
        expected: Expected | None = None,
    ) -> list[Person]:
        """The people in one frame, those who are expected first, then the surest."""
        size = np.array(checked_rgb(rgb).shape[1::-1])
        model = self._model
        inside = np.array([model.width, model.height])
        scale = float((inside / size).min())
        rows = _rows(self._input(rgb, size, inside, scale), model)
        people = []
        for row in _without_doubles(rows[rows[:, 4] >= _LEAST_SCORE]):
            joints = row[5:].reshape(-1, 3)
            pose = (joints[:, :2] - inside / 2) / scale + size / 2
            world = np.full((len(joints), 3), np.nan)
            people.append(Person(pose, world, np.clip(joints[:, 2], 0.0, 1.0)))
        return self._limited(people, [] if expected is None else list(expected.poses))

    def _input(self, rgb: np.ndarray, size: np.ndarray, inside: np.ndarray, scale: float) -> list[np.ndarray]:
        """The network's outputs for the whole picture, upright in the middle of grey."""
        side = int(inside.max())
        picture = Region(size[0] / 2, size[1] / 2, side / scale).crop(rgb, side)
        left, top = (side - inside) // 2
        picture = picture[top : top + inside[1], left : left + inside[0]].copy()
        margins = np.round((inside - size * scale) / 2).astype(int)
        for axis, margin in ((1, margins[0]), (0, margins[1])):
            if margin > 0:
                np.moveaxis(picture, axis, 0)[[*range(margin), *range(-margin, 0)]] = _GREY
        return self._model.run(picture / 255.0)

    def _limited(self, people: list[Person], expected: list[np.ndarray]) -> list[Person]:
        """At most `max_people`: for each pose that is expected the nearest person, then the others in their order."""
        first: list[Person] = []
        others = people
        for pose in expected:
            if others:
                nearest = min(others, key=lambda person: self._figure.distance(person.pose, pose))
                if self._figure.distance(nearest.pose, pose) < _NEAR:
                    first.append(nearest)
                    others = [person for person in others if person is not nearest]
        return (first + others)[: self.max_people]

    def forget(self) -> None:
        """Nothing to forget: each picture is looked at anew."""

    def close(self) -> None:
        """Nothing to free: the network goes with its last user."""

    def __enter__(self) -> YoloEstimator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rows(outputs: list[np.ndarray], model: OnnxModel) -> np.ndarray:  # -> [A, 5 + 3 K]
    """For each candidate a box (left, top, right, bottom), its score, and the joints (x, y, score)."""
    if model.head != YOLO:
        return np.delete(outputs[0], 5, axis=1)  # without the class
    rows = outputs[0].T.copy()
    middles, sizes = rows[:, :2].copy(), rows[:, 2:4].copy()
    rows[:, :2], rows[:, 2:4] = middles - sizes / 2, middles + sizes / 2
    return rows


def _without_doubles(rows: np.ndarray) -> list[np.ndarray]:  # [A, 5 + 3 K]
    """The rows whose boxes stand for different people, the surest first."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    kept = []
    while len(rows):
        first, rows = rows[0], rows[1:]
        kept.append(first)
        sides = np.minimum(rows[:, 2:4], first[2:4]) - np.maximum(rows[:, :2], first[:2])
        shared = np.maximum(sides, 0.0).prod(axis=1)
        areas = (rows[:, 2:4] - rows[:, :2]).prod(axis=1) + (first[2:4] - first[:2]).prod() - shared
        rows = rows[shared <= _MOST_SHARED * areas]
    return kept

"""YoloEstimator: places in pictures of every shape, doubles once, and who comes first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="ONNX networks take the extra [onnx]")
pytest.importorskip("onnx", reason="networks for the tests are written by the package onnx")
from support import pose_networks
from support.pose_networks import painted, standing

from mixsynth_stream.pipeline.estimators.choose import pose_estimator
from mixsynth_stream.pipeline.estimators.onnx.model import OnnxModel, open_onnx
from mixsynth_stream.pipeline.estimators.onnx.yolo import YoloEstimator
from mixsynth_stream.pipeline.motion import Expected
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.skeleton import COCO_17


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 320), (321, 180), (200, 200)])
def test_joints_land_where_the_picture_shows_them(width: int, height: int, ended: bool, tmp_path: Path) -> None:
    pose = standing(width / 2 + 10, height / 2, 36.0)
    model = open_onnx(str(pose_networks.yolo(tmp_path / "yolo.onnx", ended=ended)))
    people = YoloEstimator(model, max_people=3)(painted(pose, width, height), 0.0)
    assert len(people) == 1
    step = max(width, height) / 160
    assert np.abs(people[0].pose - pose).max() < 1.5 * step
    assert people[0].scores.min() > 0.3 and np.isnan(people[0].world).all()


class Rows(OnnxModel):
    """A network with the raw head whose candidates are known: boxes at these places, 40 pixels wide and 80 high."""

    def __new__(cls, *_: object) -> Rows:
        return object.__new__(cls)

    def __init__(self, *candidates: tuple[float, float]) -> None:  # x of the middle, score
        super().__init__(Path("yolo.onnx"), 160, 160, "YOLO pose", COCO_17, None, np.float32)
        object.__setattr__(self, "candidates", candidates)

    def run(self, picture: np.ndarray) -> list[np.ndarray]:
        rows = np.zeros((56, 100))
        for column, (x, score) in enumerate(self.candidates):  # type: ignore[attr-defined]
            rows[:5, column] = x, 80, 40, 80, score
            joints = np.column_stack([standing(x, 80, 20), np.full(17, 0.8)])
            rows[5:, column] = joints.ravel()
        return [rows]


PICTURE = np.zeros((160, 160, 3), np.uint8)


def middles(estimator: YoloEstimator, *expected: float) -> list[float]:
    poses = np.array([standing(x, 80, 20) for x in expected]).reshape(-1, 17, 2)
    shape = poses.shape[:2]
    known = Expected(
        ids=np.arange(len(poses)),
        poses=poses,
        world=np.full((*shape, 3), np.nan),
        scores=np.ones(shape),
        origin=np.ones(shape, np.uint8),
    )
    people = estimator(PICTURE, 0.0, expected=known if expected else None)
    return [float(person.pose[[11, 12], 0].mean()) for person in people]


def test_doubles_and_the_unsure_are_left_out() -> None:
    model = Rows((40, 0.7), (42, 0.9), (100, 0.5), (140, 0.2))
    assert middles(YoloEstimator(model, max_people=4)) == pytest.approx([42, 100])


def test_the_surest_come_first_and_no_more_than_may() -> None:
    model = Rows((30, 0.5), (80, 0.9), (130, 0.7))
    assert middles(YoloEstimator(model, max_people=2)) == pytest.approx([80, 130])


def test_those_who_are_followed_come_before_the_surest() -> None:
    model = Rows((30, 0.5), (80, 0.9), (130, 0.7))
    assert middles(YoloEstimator(model, max_people=2), 28.0) == pytest.approx([30, 80])
    assert middles(YoloEstimator(model, max_people=1), 132.0, 28.0) == pytest.approx([130])


def test_nobody_is_an_answer() -> None:
    assert middles(YoloEstimator(Rows(), max_people=2)) == []


def test_a_person_of_yolo_goes_through_a_stream(tmp_path: Path) -> None:
    path = str(pose_networks.yolo(tmp_path / "yolo11n-pose.onnx"))
    frames = [(painted(standing(120.0 + k, 118.0)), k / 30) for k in range(41)]
    with Stream(frames, estimator=path, lag=1) as stream:
        motions = [motion for motion in stream if motion.final]
    assert len(motions) == len(frames)
    errors = [np.abs(motion.poses[0] - standing(120.0 + motion.index, 118.0)).max() for motion in motions]
    assert max(errors) < 6.0


def test_it_searches_in_any_case(tmp_path: Path) -> None:
    path = str(pose_networks.yolo(tmp_path / "yolo.onnx"))
    for eye in ("follow", "keyframe"):
        with pose_estimator(path, eye=eye, max_people=2) as estimator:
            assert isinstance(estimator, YoloEstimator) and estimator.max_people == 2
    with pytest.raises(ValueError, match="max_people must be at least 1"):
        pose_estimator(path, max_people=0)

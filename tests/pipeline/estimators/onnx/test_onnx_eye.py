"""OnnxEye: joints land where the picture shows them, in regions of any place and turn, and through a whole stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import clips

pytest.importorskip("onnxruntime", reason="ONNX networks take the extra [onnx]")
pytest.importorskip("onnx", reason="networks for the tests are written by the package onnx")
from support import pose_networks
from support.pose_networks import painted, standing

from mixsynth_stream.pipeline.estimators.choose import pose_estimator
from mixsynth_stream.pipeline.estimators.follow import FollowingEstimator
from mixsynth_stream.pipeline.estimators.onnx.model import open_onnx
from mixsynth_stream.pipeline.estimators.onnx.regions import OnnxEye, heatmap_joints, simcc_joints
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.skeleton import COCO_17

WRITERS = (pose_networks.simcc, pose_networks.heatmaps)


def turned(pose: np.ndarray, angle: float) -> np.ndarray:  # [17, 2]
    """The pose, turned clockwise about the middle of its hips."""
    hips = pose[[COCO_17.index("left_hip"), COCO_17.index("right_hip")]].mean(axis=0)
    c, s = math.cos(angle), math.sin(angle)
    return (pose - hips) @ np.array([[c, s], [-s, c]]) + hips


@pytest.mark.parametrize("angle", [0.0, 0.7, -1.2, math.pi])
@pytest.mark.parametrize("write", WRITERS)
def test_joints_land_where_the_picture_shows_them(write: Callable[..., Path], angle: float, tmp_path: Path) -> None:
    eye = OnnxEye(open_onnx(str(write(tmp_path / "pose.onnx"))))
    pose = turned(standing(150.0, 118.0, 36.0), angle)
    region = Region.of_pose(pose, margin=1.18, skeleton=COCO_17, width=eye.width)
    assert region is not None
    person = eye.look(painted(pose), region)
    eye.close()
    assert person is not None and np.isnan(person.world).all()
    step = region.side / 128  # a pixel of the network's picture
    limit = step * (1.5 if write is pose_networks.simcc else 3.0)
    assert np.abs(person.pose - pose).max() < limit


def test_arms_that_are_spread_lie_within_what_the_network_sees() -> None:
    pose = standing()
    pose[[9, 10], 0] = 160 + np.array([110, -110])
    region = Region.of_pose(pose, margin=1.18, skeleton=COCO_17, width=0.75)
    assert region is not None
    assert 0.75 * region.side / 2 == pytest.approx(1.18 * 110, rel=0.01)


@pytest.mark.parametrize("write", WRITERS)
def test_a_person_is_followed_without_the_detector(write: Callable[..., Path], tmp_path: Path) -> None:
    eye = OnnxEye(open_onnx(str(write(tmp_path / "pose.onnx"))))
    begin = Region.of_pose(standing(), margin=1.3, skeleton=COCO_17, width=eye.width)
    searches = []

    def find(rgb: np.ndarray, part: Region | None = None) -> list[Region]:
        searches.append(part)
        return [begin] if len(searches) == 1 and begin is not None else []

    eye.find = find  # type: ignore[method-assign]
    with FollowingEstimator(eye) as estimator:
        for step in range(12):
            pose = standing(160.0 + 3 * step, 120.0 - step)
            people = estimator(painted(pose), 1.0 + step / 3)
            assert len(people) == 1
            assert np.abs(people[0].pose - pose).max() < 6.0
    # One finds the person; all others are checks, two seconds apart.
    assert len(searches) <= 4


def test_an_empty_region_shows_nobody(tmp_path: Path) -> None:
    eye = OnnxEye(open_onnx(str(pose_networks.simcc(tmp_path / "pose.onnx"))))
    assert eye.look(np.full((240, 320, 3), 64, np.uint8), Region(160.0, 120.0, 200.0)) is None
    eye.close()
    eye.close()
    with pytest.raises(ValueError, match="this OnnxEye is closed"):
        eye.look(np.zeros((240, 320, 3), np.uint8), Region(160.0, 120.0, 200.0))


def test_simcc_has_the_place_and_the_smaller_value() -> None:
    columns, rows = np.zeros((2, 192)), np.zeros((2, 256))
    columns[0, 31], rows[0, 100] = 0.9, 0.4
    columns[1, 191], rows[1, 255] = 2.0, 1.5  # products are no probabilities
    places, scores = simcc_joints(columns, rows, width=96, height=128)
    assert places.tolist() == [[15.5, 50.0], [95.5, 127.5]]
    assert scores.tolist() == [0.4, 1.0]


def test_a_bell_of_heat_between_places_is_met_exactly() -> None:
    y, x = np.mgrid[:16, :12]
    heat = np.exp(-((x - 7.3) ** 2 + (y - 4.8) ** 2) / 8)[None]
    places, scores = heatmap_joints(heat, width=96, height=128)
    assert places[0] == pytest.approx([7.3 * 95 / 11, 4.8 * 127 / 15])
    assert scores[0] == pytest.approx(heat.max())


def test_flat_heat_and_heat_at_the_edge_have_a_place() -> None:
    heat = np.zeros((2, 16, 12))
    heat[1, 15, 11] = 1.0
    places, scores = heatmap_joints(heat, width=96, height=128)
    assert np.isfinite(places).all() and scores.tolist() == [0.0, 1.0]
    assert places[1] == pytest.approx([95.0, 127.0], abs=5.0)


def test_a_network_of_the_user_runs_through_a_stream(tmp_path: Path) -> None:
    """On a real clip the detector finds the man; the network knows no colours of his, so it sees nobody."""
    path = str(pose_networks.simcc(tmp_path / "rtmpose-m.onnx"))
    with Stream(str(clips.PERSON), estimator=path) as stream:
        motions = list(stream)
    assert motions and all(motion.skeleton == COCO_17 for motion in motions)
    assert stream.stats.estimator_calls > 1


def test_one_network_is_opened_by_its_name(tmp_path: Path) -> None:
    with pose_estimator(str(pose_networks.heatmaps(tmp_path / "vitpose.onnx")), max_people=2) as estimator:
        assert isinstance(estimator, FollowingEstimator)
        assert (estimator.skeleton, estimator.max_people) == ("COCO-17", 2)

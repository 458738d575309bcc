"""Region: the square around a pose, its own picture, and places in it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.fakes import standing_pose

from mixsynth_stream.pipeline.estimators.region import Region


def turned_about(pose: np.ndarray, centre: np.ndarray, angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return (pose - centre) @ np.array([[c, s], [-s, c]]) + centre


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, 3.0])
def test_a_region_lies_around_the_hips_and_is_turned_with_the_body(angle: float):
    upright = standing_pose(x_px=300, y_px=200, size_px=100)
    hips = (upright[23] + upright[24]) / 2
    region = Region.of_pose(turned_about(upright, hips, angle), margin=1.2)
    assert region is not None
    assert (region.x, region.y) == pytest.approx(tuple(hips))
    assert region.angle == pytest.approx(angle)
    farthest = np.linalg.norm(upright - hips, axis=1).max()
    assert region.side == pytest.approx(2 * 1.2 * farthest)


def test_a_pose_without_hips_or_shoulders_has_no_region():
    pose = standing_pose()
    pose[23] = np.nan
    assert Region.of_pose(pose, margin=1.2) is None
    assert Region.of_pose(np.zeros((33, 2)), margin=1.2) is None


def test_an_unseen_hand_does_not_hide_the_region():
    pose = standing_pose()
    whole = Region.of_pose(pose, margin=1.2)
    pose[15] = np.nan
    assert Region.of_pose(pose, margin=1.2) == whole


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.0])
def test_places_in_the_crop_are_those_in_the_picture(angle: float):
    rgb = np.zeros((300, 400, 3), np.uint8)
    rgb[140:143, 210:213] = 255
    region = Region(200.0, 150.0, 120.0, angle)
    bright = np.argwhere(region.crop(rgb, 240)[..., 0] > 200).mean(axis=0)[::-1]  # x, y
    assert region.in_picture(bright / 240) == pytest.approx([211, 141], abs=0.5)


def test_world_landmarks_turn_with_the_picture():
    region = Region(0.0, 0.0, 1.0, math.pi / 2)
    # What is up in the crop of a region that is turned clockwise by 90 degrees points to the right in the picture.
    assert region.turned(np.array([[0.0, -1.0, 0.5]])) == pytest.approx(np.array([[1.0, 0.0, 0.5]]), abs=1e-9)
    assert region.in_picture(np.array([0.5, 0.0])) == pytest.approx([0.5, 0.0], abs=1e-9)


def test_regions_are_compared_by_place_size_and_angle():
    region, other = Region(0.0, 0.0, 100.0, 3.0), Region(30.0, 40.0, 200.0, -3.0)
    assert region.offset(other) == pytest.approx(0.25)
    assert region.growth(other) == pytest.approx(math.log(2))
    assert region.turn(other) == pytest.approx(2 * math.pi - 6)
    assert region.holds(49, 0) and not region.holds(40, 40)

"""Curve: what sigma stands at a time, how it grows, and which joint's it is."""

from __future__ import annotations

import numpy as np
import pytest
from support.fakes import CatmullRom, standing_pose, with_sigma

from mixsynth_stream.pipeline.curve import WindowPoses
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.window import MotionWindow

PERIOD_S = 1 / 3


def walked(
    count: int, *, unseen: tuple[int, ...] = (), speed_px_s: float = 90.0, size_px: float = 100.0
) -> MotionWindow:
    """A window after `count` keyframes; nobody was seen at those in `unseen`."""
    window = MotionWindow(with_sigma())
    for k in range(count):
        pose = standing_pose(x_px=200 + speed_px_s * k * PERIOD_S, size_px=size_px)
        window.push(None if k in unseen else pose, None, k * PERIOD_S)
    return window


def sigma_of(poses: WindowPoses) -> np.ndarray:
    assert poses.sigma is not None
    return poses.sigma


def test_what_is_measured_or_missing_has_no_sigma_and_all_else_has_one():
    window = walked(6)
    newest = 5 * PERIOD_S
    result = window.at([-1.0, newest - 0.1, newest, newest + 0.1, newest + 2])
    sigma = sigma_of(result)
    names = [Origin(int(origin)).name for origin in result.origin[:, 0]]
    assert names == ["MISSING", "FILLED", "MEASURED", "FORECAST", "HELD"]
    assert np.isnan(sigma[[0, 2]]).all() and (sigma[[1, 3, 4]] > 0).all()
    assert np.isnan(sigma_of(MotionWindow(with_sigma()).at([0.0]))).all()


def test_sigma_is_largest_in_the_middle_of_a_gap_and_grows_with_the_horizon():
    window, newest = walked(6), 5 * PERIOD_S
    gap = sigma_of(window.at(newest - PERIOD_S + np.array([2, 5, 8]) / 30))
    assert (gap[1] > gap[0]).all() and (gap[1] > gap[2]).all()
    ahead = sigma_of(window.at(newest + np.arange(1, 60) / 30))
    assert (np.diff(ahead, axis=0) > 0).all()
    # Held: nothing is known, so it goes on in proportion to the time since the last sighting.
    np.testing.assert_allclose(sigma_of(window.at([newest + 56 / 30])), 2 * ahead[27:28], rtol=1e-6)


def test_sigma_follows_the_size_in_the_picture_and_the_liveliness():
    ahead = [5 * PERIOD_S + 0.2]
    slow, big = (walked(6, speed_px_s=0.9 * size, size_px=size) for size in (100.0, 300.0))
    np.testing.assert_allclose(sigma_of(big.at(ahead)), 3 * sigma_of(slow.at(ahead)), rtol=1e-5)
    assert (sigma_of(walked(6, speed_px_s=400.0).at(ahead)) > 1.1 * sigma_of(slow.at(ahead))).all()


def test_landmarks_off_the_network_take_their_carriers_sigma():
    sigma = sigma_of(walked(6).at([5 * PERIOD_S + 0.2]))[0]
    thumb, wrist, heel, ankle = 21, 15, 29, 27
    assert sigma[thumb] == sigma[wrist] and sigma[heel] == sigma[ankle]
    assert sigma[wrist] == pytest.approx(3 * sigma[13])  # the made-up table says so


def test_a_lost_keyframe_makes_the_gap_less_certain():
    whole, lost = walked(7), walked(7, unseen=(5,))
    middle = 5 * PERIOD_S
    in_gap = sigma_of(lost.at([middle - 0.1, middle, middle + 0.1]))
    assert lost.at([middle]).origin[0, 0] == Origin.FILLED
    assert (in_gap[1] > in_gap[0]).all() and (in_gap[1] > in_gap[2]).all()
    assert (in_gap[[0, 2]] > sigma_of(whole.at([middle - 0.1, middle + 0.1]))).all()


def test_a_joint_that_was_not_seen_is_less_certain_than_the_others():
    window = walked(5)
    pose = standing_pose(x_px=200 + 90 * 5 * PERIOD_S)
    pose[13] = np.nan
    window.push(pose, None, 5 * PERIOD_S)
    sigma = sigma_of(window.at([5 * PERIOD_S, 5 * PERIOD_S + 0.1]))
    assert np.isnan(sigma[0, 14]) and sigma[0, 13] > 0
    assert sigma[1, 13] > 1.5 * sigma[1, 14]


def test_the_first_keyframe_alone_is_held_with_a_growing_sigma():
    window = walked(1)
    result = window.at([0.0, 0.1, 0.3])
    assert result.origin[1, 0] == Origin.HELD
    sigma = sigma_of(result)
    assert np.isnan(sigma[0]).all() and (sigma[2] > sigma[1]).all() and (sigma[1] > 0).all()


def test_without_a_table_there_is_no_sigma():
    window = MotionWindow(CatmullRom())
    window.push(standing_pose(), None, 0.0)
    assert window.at([0.1]).sigma is None

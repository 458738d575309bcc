"""Metrics against answers worked out by hand, and against what a metric must not change under."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixsynth_stream.metrics import accel_error, mpjpe, p_mpjpe, pck


def _pose(seed: int, joints: int = 17, dims: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(joints, dims))


def _rotation(seed: int, dims: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dims, dims)))
    if np.linalg.det(q) < 0:
        q[:, 0] *= -1
    return q


def test_mpjpe_is_the_mean_distance():
    truth = np.zeros((2, 2, 2))
    predicted = np.array([[[3.0, 4.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, -2.0]]])
    np.testing.assert_allclose(mpjpe(predicted, truth), [2.5, 1.5])


def test_unknown_truth_is_left_out_but_an_unanswered_joint_is_not():
    truth = np.array([[0.0, 0.0], [np.nan, np.nan]])
    assert mpjpe(np.array([[3.0, 4.0], [9.0, 9.0]]), truth) == 5.0
    assert np.isnan(mpjpe(np.array([[np.nan, 4.0], [9.0, 9.0]]), truth))
    assert np.isnan(mpjpe(np.zeros((2, 2)), np.full((2, 2), np.nan)))


@pytest.mark.parametrize("dims", [2, 3])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10.0))
def test_p_mpjpe_forgives_every_similarity(dims: int, seed: int, scale: float):
    truth = _pose(seed, dims=dims)
    moved = scale * truth @ _rotation(seed, dims).T + 7.0
    assert p_mpjpe(moved, truth) == pytest.approx(0.0, abs=1e-9)


def test_p_mpjpe_does_not_forgive_a_reflection():
    truth = _pose(1)
    mirrored = truth * np.array([-1.0, 1.0, 1.0])
    assert p_mpjpe(mirrored, truth) > 0.3


def test_p_mpjpe_of_a_known_shape():
    # A 2 x 2 square against one stretched to 4 x 2: the best scale is 0.6, which leaves every corner (0.2, 0.4) off.
    square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    stretched = square * np.array([2.0, 1.0])
    assert p_mpjpe(stretched, square) == pytest.approx(np.hypot(0.2, 0.4))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_p_mpjpe_never_exceeds_the_rms_error(seed: int):
    truth, predicted = _pose(seed), _pose(seed + 1)
    rms = np.sqrt(((predicted - truth) ** 2).sum(-1).mean())
    assert p_mpjpe(predicted, truth) <= rms + 1e-12


def test_p_mpjpe_works_on_batches_and_marks_unusable_poses():
    truth = np.stack([_pose(0), _pose(1), _pose(2)])
    predicted = truth + 0.1 * np.stack([_pose(3), _pose(4), _pose(5)])
    truth[1, 4] = np.nan
    both = p_mpjpe(predicted, truth)
    assert both[0] == pytest.approx(float(p_mpjpe(predicted[0], truth[0])))
    assert np.isnan(both[1])
    assert np.isfinite(both[2])


def test_accel_error_of_a_parabola_against_rest():
    # x = 1.5 t^2 accelerates by 3 a frame squared; constant velocity and offsets do not count.
    t = np.arange(6.0)
    predicted = np.zeros((6, 2, 3))
    predicted[:, 0, 0] = 1.5 * t**2 + 4 * t - 2
    np.testing.assert_allclose(accel_error(predicted, np.zeros_like(predicted)), np.full(4, 1.5))


def test_accel_error_needs_three_frames():
    with pytest.raises(ValueError, match="at least 3"):
        accel_error(np.zeros((2, 17, 3)), np.zeros((2, 17, 3)))


def test_pck_counts_joints_within_the_threshold():
    truth = np.zeros((4, 2))
    predicted = np.array([[0.0, 0.0], [1.9, 0.0], [2.0, 0.0], [2.1, 0.0]])
    assert pck(predicted, truth, scale=10.0, threshold=0.2) == 0.75
    two = pck(np.stack([predicted] * 2), np.stack([truth] * 2), scale=np.array([10.0, 1.0]))
    np.testing.assert_allclose(two, [0.75, 0.25])


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\[17, 3\] and \[17, 2\]"):
        mpjpe(np.zeros((17, 3)), np.zeros((17, 2)))

"""Conversions between kinds of rotation, and the angle between two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixsynth_stream.rotations import (
    axis_angle_from_6d,
    axis_angle_to_6d,
    axis_angle_to_matrix,
    euler_to_matrix,
    geodesic_error,
    matrix_from_6d,
    matrix_to_axis_angle,
    nearest_6d,
    unit_vectors,
)

numbers = st.floats(-1, 1, allow_nan=False)
axes = st.tuples(numbers, numbers, numbers).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(axes, st.floats(0, np.pi))
def test_there_and_back_is_the_same_rotation(axis: tuple[float, float, float], angle: float) -> None:
    vector = angle * np.array(axis) / np.linalg.norm(axis)
    matrix = axis_angle_to_matrix(vector)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    for back in (axis_angle_to_matrix(matrix_to_axis_angle(matrix)), matrix_from_6d(axis_angle_to_6d(vector))):
        assert geodesic_error(matrix, back) < 1e-6
    assert np.linalg.norm(matrix_to_axis_angle(matrix)) == pytest.approx(angle, abs=1e-6)


def test_a_right_angle_about_z_turns_x_to_y() -> None:
    quarter = axis_angle_to_matrix(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(axis_angle_to_6d(np.array([0, 0, np.pi / 2])), [0, -1, 1, 0, 0, 0], atol=1e-12)


def test_the_error_does_not_see_where_an_angle_wraps() -> None:
    axis = np.array([0.0, 1.0, 0.0])
    before, after = axis_angle_to_matrix((np.pi - 0.01) * axis), axis_angle_to_matrix((-np.pi + 0.01) * axis)
    assert geodesic_error(before, after) == pytest.approx(0.02, abs=1e-9)
    assert geodesic_error(np.eye(3), axis_angle_to_matrix(np.pi * axis)) == pytest.approx(np.pi)
    assert geodesic_error(np.eye(3), axis_angle_to_matrix(1e-9 * axis)) == pytest.approx(1e-9)
    assert geodesic_error(np.eye(3), axis_angle_to_matrix((2 * np.pi + 0.3) * axis)) == pytest.approx(0.3)


def test_six_numbers_that_are_no_rotation_give_the_nearest_frame() -> None:
    matrix = matrix_from_6d(np.array([2.0, 1.0, 0.0, 3.0, 0.0, 0.0]))
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    "numbers",
    [np.zeros(6), [0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 2, 1, 2, 1, 2], [1e-300, 0, 0, 0, 0, 1]],
    ids=["nothing", "no first column", "no second column", "parallel columns", "almost no first column"],
)
def test_six_numbers_without_a_frame_still_give_a_rotation(numbers: list[float]) -> None:
    """As they are halfway between two rotations that are half a turn apart."""
    matrix = matrix_from_6d(np.array(numbers, float))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_an_unknown_rotation_stays_unknown() -> None:
    rotations = np.stack([axis_angle_to_6d(np.array([0.3, 0.2, -3.0])), np.full(6, np.nan)])
    np.testing.assert_allclose(nearest_6d(rotations), rotations, atol=1e-12)
    np.testing.assert_allclose(axis_angle_from_6d(rotations)[0], [0.3, 0.2, -3.0], atol=1e-9)
    assert np.isnan(axis_angle_from_6d(rotations)[1]).all()


def test_euler_angles_turn_about_the_axes_that_the_others_left() -> None:
    both = euler_to_matrix(np.radians([90.0, 90.0]), "zx")
    np.testing.assert_allclose(both @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(both @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    with pytest.raises(ValueError, match="axes out of x, y, z"):
        euler_to_matrix(np.zeros(3), "xy")


def test_unit_vectors_keep_directions_and_leave_what_has_none() -> None:
    np.testing.assert_allclose(unit_vectors(np.array([[0.0, 3.0, 4.0], [0.0, 0.0, 0.0]])), [[0, 0.6, 0.8], [0, 0, 0]])

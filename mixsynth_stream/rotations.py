"""Rotations as axis-angle vectors, matrices, 6 numbers and Euler angles, and the angle between two. numpy only, a leaf.

The 6 numbers are the first two columns of the matrix (Zhou et al., CVPR 2019), row by row: r00 r01 r10 r11 r20 r21.
Two rotations are compared as matrices, so an angle of pi and one of -pi are the same rotation.
"""

from __future__ import annotations

import numpy as np


def unit_vectors(vectors: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3]
    """The same directions with length 1. A vector shorter than 1e-9 stays short."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def axis_angle_to_matrix(vectors: np.ndarray) -> np.ndarray:  # [..., 3] radians -> [..., 3, 3]
    """Rodrigues' formula; exact at zero too."""
    vectors = np.asarray(vectors, np.float64)
    if vectors.shape[-1:] != (3,):
        raise ValueError(f"axis-angle vectors must be [..., 3], found {list(vectors.shape)}")
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = np.zeros((*vectors.shape[:-1], 3, 3))
    x, y, z = np.moveaxis(vectors, -1, 0)
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
    cross[..., 1, 0], cross[..., 2, 0], cross[..., 2, 1] = z, -y, x
    # These are sin(a)/a and (1 - cos a)/a^2, from functions that are defined at zero.
    first, second = np.sinc(angle / np.pi), np.sinc(angle / (2 * np.pi)) ** 2 / 2
    return np.asarray(np.eye(3) + first * cross + second * (cross @ cross))


def matrix_to_axis_angle(matrices: np.ndarray) -> np.ndarray:  # [..., 3, 3] -> [..., 3] radians
    """The vector with an angle of 0 to pi. It goes through a quaternion, so it is exact near pi."""
    quaternion = matrix_to_quaternion(matrices)
    sine = np.linalg.norm(quaternion[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[..., 3:])
    return np.asarray(quaternion[..., :3] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0))


def matrix_to_quaternion(matrices: np.ndarray) -> np.ndarray:  # [..., 3, 3] -> [..., 4]
    """The unit quaternion x, y, z, w with w of at least 0, computed from its largest part."""
    m = np.asarray(matrices, np.float64)
    trace = np.trace(m, axis1=-2, axis2=-1)
    # Four times the outer product of the quaternion (w, x, y, z) with itself: any row is the quaternion, scaled.
    outer = np.empty((*m.shape[:-2], 4, 4))
    outer[..., 0, 0] = 1 + trace
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        outer[..., i + 1, i + 1] = 1 + 2 * m[..., i, i] - trace
        outer[..., 0, i + 1] = outer[..., i + 1, 0] = m[..., k, j] - m[..., j, k]
        outer[..., i + 1, j + 1] = outer[..., j + 1, i + 1] = m[..., i, j] + m[..., j, i]
    largest = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    quaternion = np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    return np.asarray(quaternion[..., [1, 2, 3, 0]])


def matrix_to_6d(matrices: np.ndarray) -> np.ndarray:  # [..., 3, 3] -> [..., 6]
    """The first two columns, row by row."""
    return np.asarray(matrices[..., :2].reshape(*matrices.shape[:-2], 6))


def matrix_from_6d(numbers: np.ndarray) -> np.ndarray:  # [..., 6] -> [..., 3, 3]
    """The rotation whose first two columns are nearest, by Gram-Schmidt. NaN stays NaN.

    Any 6 finite numbers give a rotation. Halfway between two that are half a turn apart a column vanishes; then the
    result is a rotation between the two.
    """
    if numbers.shape[-1:] != (6,):
        raise ValueError(f"rotations of 6 numbers must be [..., 6], found {list(numbers.shape)}")
    columns = np.asarray(numbers, np.float64).reshape(*numbers.shape[:-1], 3, 2)
    first = _column(columns[..., 0], columns[..., 1])
    second = _column(columns[..., 1] - (first * columns[..., 1]).sum(-1, keepdims=True) * first, first)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def nearest_6d(numbers: np.ndarray) -> np.ndarray:  # [..., 6] -> [..., 6]
    """The 6 numbers of the nearest rotation, for numbers from a network or a mean."""
    return matrix_to_6d(matrix_from_6d(numbers))


def axis_angle_to_6d(vectors: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 6]
    """Axis-angle vectors, as SMPL files hold them, to the 6 numbers that the network takes."""
    return matrix_to_6d(axis_angle_to_matrix(vectors))


def axis_angle_from_6d(numbers: np.ndarray) -> np.ndarray:  # [..., 6] -> [..., 3] radians
    """The network's 6 numbers to the vectors that SMPL files and body models take, with angles of 0 to pi."""
    return matrix_to_axis_angle(matrix_from_6d(numbers))


def euler_to_matrix(angles: np.ndarray, axes: str) -> np.ndarray:  # [..., n] radians -> [..., 3, 3]
    """R[axes[0]] R[axes[1]] ...: each rotation turns about the axes that the rotations before it have turned."""
    if angles.shape[-1] != len(axes) or not set(axes.lower()) <= set("xyz"):
        raise ValueError(f"{len(axes)} axes out of x, y, z are needed for angles {list(angles.shape)}, found {axes!r}")
    result = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for number, axis in enumerate(axes.lower()):
        result = result @ axis_angle_to_matrix(angles[..., number, None] * np.eye(3)["xyz".index(axis)])
    return np.asarray(result)


def euler_from_matrix(matrix: np.ndarray) -> np.ndarray:  # [3, 3] -> [3] radians about x, y and z
    """The angles of Unity: the matrix is R[y] R[x] R[z]. Where x is a right angle, z is 0 and y takes both."""
    x = np.arcsin(np.clip(-matrix[1, 2], -1.0, 1.0))
    if abs(matrix[1, 2]) > 1.0 - 1e-9:
        return np.array([x, np.arctan2(-matrix[2, 0], matrix[0, 0]), 0.0])
    return np.array([x, np.arctan2(matrix[0, 2], matrix[2, 2]), np.arctan2(matrix[1, 0], matrix[1, 1])])


def geodesic_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # both [..., 3, 3] -> [...] radians, 0..pi
    """The angle of the rotation from `a` to `b`; exact for small angles too, where an arc cosine is not."""
    chord = np.linalg.norm(np.asarray(a, np.float64) - b, axis=(-2, -1)) / np.sqrt(8)
    return np.asarray(2 * np.arcsin(np.minimum(chord, 1.0)))


def _column(vectors: np.ndarray, other: np.ndarray) -> np.ndarray:  # both [..., 3] -> [..., 3]
    """Unit vectors along `vectors`. Where one has no length, it is a vector at right angles to `other`."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    is_zero = length < 1e-9
    if is_zero.any():
        axis = np.eye(3)[np.argmin(np.abs(other), axis=-1)]
        across = np.cross(other, axis)
        vectors = np.where(is_zero, np.where((across**2).sum(-1, keepdims=True) > 1e-18, across, axis), vectors)
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / length)

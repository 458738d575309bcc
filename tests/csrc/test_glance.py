"""Tests of the C++ glance: it gives the numpy reference's numbers, whatever the picture's memory looks like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.glance_reference import flow, joint_motion, pyramid
from support.moving import standing
from support.textured import draw_person, shifted, texture

from mixsynth_stream import _C
from mixsynth_stream.pipeline.glance.body import body, body_points


def flows(before: np.ndarray, after: np.ndarray, points: np.ndarray, shrink: int = 1, bits: int = 8) -> np.ndarray:
    box = (0, 0, before.shape[1], before.shape[0])
    pair = [_C.Pyramid(luma, box, shrink, bits) for luma in (before, after)]
    return np.asarray(_C.flow(*pair, points.astype(np.float32), np.zeros_like(points, np.float32)))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 7),
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
    st.integers(0, 1000),
)
def test_flow_equals_the_reference(shrink, size, motion, seed):
    first = texture(*size, seed, 4.0 + shrink)
    luma = [np.round(picture).clip(0, 255).astype(np.uint8) for picture in (first, shifted(first, *motion))]
    points = np.random.default_rng(seed).uniform((0, 0), size[::-1], (12, 2)).astype(np.float32)
    pair = [_C.Pyramid(picture, (0, 0, size[1], size[0]), shrink) for picture in luma]
    result = _C.flow(*pair, points, np.zeros_like(points))
    levels = [pyramid(picture, pair[0].box, shrink) for picture in luma]
    errors = []
    for point, row in zip(points.astype(np.float64), result, strict=True):
        # The reference does not try again from the coarsest level, which helps a point here and there.
        truths = [flow(*levels, pair[0].box[:2], shrink, point, np.zeros(2), top) for top in (2, 3)]
        differences = [np.abs(row[:2] - truth).max() / shrink for truth in truths if truth is not None]
        if np.isfinite(row[5]):
            assert differences
            errors.append(min(differences))
    # Rounding may end a search one step earlier, or begin it in another row of pixels.
    assert not errors or np.median(errors) < 2e-3
    assert np.sum(np.array(errors) > 0.1) <= 1


def test_points_are_found_where_they_went():
    first = (texture(300, 400, 3) + texture(300, 400, 4, 30.0)) / 2
    points = np.random.default_rng(0).uniform((60, 60), (340, 240), (200, 2))
    for motion in ((0.0, 0.0), (0.37, -0.81), (5.5, 3.25), (-14.0, 9.0)):
        result = flows(first.astype(np.uint8), shifted(first, *motion).clip(0, 255).astype(np.uint8), points)
        assert np.median(np.abs(result[:, :2] - motion)) < 0.05
        assert np.median(result[:, 5]) < 0.1


def test_a_change_of_light_is_no_motion():
    first = texture(200, 200, 4) * 0.5 + 20
    points = np.random.default_rng(0).uniform(40, 160, (100, 2))
    flash = flows(first.astype(np.uint8), (shifted(first, 1.5, 0.5) + 90).astype(np.uint8), points)
    assert np.median(np.abs(flash[:, :2] - (1.5, 0.5))) < 0.05


def test_the_memory_of_a_picture_does_not_matter():
    first = texture(131, 97, 5).astype(np.uint8)
    second = shifted(texture(131, 97, 5), 2.0, 1.0).clip(0, 255).astype(np.uint8)
    points = np.random.default_rng(0).uniform(10, 90, (50, 2))
    truth = flows(first, second, points)

    def with_long_rows(luma: np.ndarray) -> np.ndarray:
        rows = np.full((luma.shape[0], luma.shape[1] + 31), 255, luma.dtype)
        rows[:, : luma.shape[1]] = luma
        return rows[:, : luma.shape[1]]

    def as_grey(luma: np.ndarray) -> np.ndarray:
        return np.repeat(luma[..., None], 3, axis=2)

    np.testing.assert_array_equal(flows(with_long_rows(first), with_long_rows(second), points), truth)
    np.testing.assert_allclose(flows(as_grey(first), as_grey(second), points), truth, atol=2e-3)
    ten = flows(first.astype(np.uint16) * 4, second.astype(np.uint16) * 4, points, bits=10)
    np.testing.assert_allclose(ten[:, :2], truth[:, :2], atol=0.02)
    sixteen = flows(first.astype(np.uint16) * 257, second.astype(np.uint16) * 257, points, bits=16)
    np.testing.assert_allclose(sixteen, truth, atol=2e-3)


def test_luma_of_rgb_is_that_of_television():
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, 32:] = (255, 0, 0)
    grey = np.zeros((64, 64), np.uint8)
    grey[:, 32:] = 77
    points = np.array([[32.0, 32.0]])
    np.testing.assert_allclose(flows(rgb, rgb, points)[:, 2], flows(grey, grey, points)[:, 2], rtol=0.01)


def test_points_outside_the_picture_are_lost():
    luma = texture(100, 100, 6).astype(np.uint8)
    points = np.array([[-30.0, 50.0], [50.0, 150.0], [1e5, 1e5], [50.0, 50.0]])
    assert np.isinf(flows(luma, luma, points)[:, 5]).tolist() == [True, True, True, False]
    outside = _C.Pyramid(luma, (200, 200, 300, 300), 4)
    points = points.astype(np.float32)
    assert np.isinf(_C.flow(outside, outside, points, np.zeros_like(points))[:, 5]).all()


def test_joints_move_as_the_reference_says():
    pose, scale = standing((200.0, 220.0), 64.0), 64.0
    moved = pose + np.random.default_rng(1).normal(0, 1.5, pose.shape)
    pictures = []
    for joints in (pose, moved):
        picture = texture(420, 400, 7)
        draw_person(picture, joints)
        pictures.append(picture.astype(np.uint8))
    pair = [_C.Pyramid(luma, (0, 0, 400, 420), 1) for luma in pictures]
    still = np.zeros((17, 2), np.float32)
    followed, step, evidence, camera = body().follow(*pair, pose.astype(np.float32), still, scale)
    indices, numbers = body_points()
    complex_pose = pose[:, 0] + 1j * pose[:, 1]
    points = np.zeros((len(indices), 17), complex)
    for row, joints, number in zip(points, indices, numbers, strict=True):
        np.add.at(row, joints, number[:4])
        length = max(abs(complex_pose[joints[1]] - complex_pose[joints[0]]), 0.3 * scale)
        row[joints[1]] += 1j * number[4] * scale / length
        row[joints[0]] -= 1j * number[4] * scale / length
    places = points @ complex_pose + (numbers[:, 5] + 1j * numbers[:, 6]) * scale
    # With no step before, everything is expected to stay but for a fifth of the camera's motion.
    guesses = np.tile(0.2 * camera, (len(points), 1)).astype(np.float32)
    places = np.stack([places.real, places.imag], -1).astype(np.float32)
    motion = joint_motion(points, _C.flow(*pair, places, guesses), guesses[0], camera, scale, 1)
    np.testing.assert_allclose(followed, pose + np.stack([motion.real, motion.imag], -1), atol=5e-3)
    np.testing.assert_allclose(step, followed - pose.astype(np.float32), atol=1e-4)
    assert np.linalg.norm(followed - moved, axis=1).mean() < 0.5 * np.linalg.norm(pose - moved, axis=1).mean()
    assert (evidence[:, 0] < 0.03).all() and (evidence[:, 2] > 0.03).all()


def test_the_camera_is_told_from_the_person():
    pose, scale = standing((200.0, 220.0), 64.0), 64.0
    pair = []
    for step in range(2):
        picture = shifted(texture(420, 400, 8), 7.0 * step, -2.0 * step)
        draw_person(picture, pose)
        pair.append(_C.Pyramid(picture.clip(0, 255).astype(np.uint8), (0, 0, 400, 420), 1))
    still = np.zeros((17, 2), np.float32)
    followed, step, _, camera = body().follow(*pair, pose.astype(np.float32), still, scale)
    np.testing.assert_allclose(camera, (7.0, -2.0), atol=0.1)
    # Dragged along, the joints would have gone seven pixels.
    assert np.linalg.norm(followed - pose, axis=1).mean() < 1.5
    np.testing.assert_allclose(step, followed - pose, atol=1e-3)


def test_a_blank_picture_is_the_worst_evidence():
    pose = standing((200.0, 220.0), 64.0).astype(np.float32)
    blank = _C.Pyramid(np.full((420, 400), 90, np.uint8), (0, 0, 400, 420), 1)
    followed, _, evidence, _ = body().follow(blank, blank, pose, np.zeros((17, 2), np.float32), 64.0)
    np.testing.assert_array_equal(followed, pose)
    assert (evidence[:, 1] > 0.09).all()


@pytest.mark.parametrize("bits", ["128", "256", "512"])
def test_every_width_of_registers_gives_the_same(bits, monkeypatch):
    if int(bits) > _C.simd_bits():
        pytest.skip(f"this processor has no registers of {bits} bits")
    first = texture(200, 200, 9)
    points = np.random.default_rng(0).uniform(40, 160, (50, 2))
    pictures = first.astype(np.uint8), shifted(first, 2.2, 1.1).clip(0, 255).astype(np.uint8)
    widest = flows(*pictures, points)
    monkeypatch.setenv("MIXSYNTH_SIMD", bits)
    np.testing.assert_allclose(flows(*pictures, points), widest, atol=5e-3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((np.zeros((9, 9), np.float32), (0, 0, 9, 9), 1), "must be uint8, found float32"),
        ((np.zeros((9, 9), np.uint8), (0, 0, 9, 9), 1, 10), "must be uint16, found uint8"),
        ((np.zeros((9, 9, 4), np.uint8), (0, 0, 9, 9), 1), r"must have shape \[H, W\]"),
        ((np.zeros((9, 18), np.uint8)[:, ::2], (0, 0, 9, 9), 1), "contiguous rows"),
        ((np.zeros((9, 9), np.uint8)[::-1], (0, 0, 9, 9), 1), "contiguous rows"),
        ((np.zeros((9, 9), np.uint8), (0, 0, 9), 1), "box must be"),
        ((np.zeros((9, 9), np.uint8), (0, 0, 9, 9), 0), "shrink must be from 1 to 64, found 0"),
        ((np.zeros((9, 9), np.uint8), (0, 0, 9, 9), 1, 17), "bits must be from 1 to 16, found 17"),
    ],
)
def test_wrong_pictures_get_a_sentence(arguments, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        _C.Pyramid(*arguments)

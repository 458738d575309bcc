"""Tests of curves and glimpses in C++: they give the numpy reference's numbers, and refuse what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.curve_reference import corrections, curve_at
from support.fakes import CatmullRom, standing_pose, with_sigma

from mixsynth_stream import _C
from mixsynth_stream.pipeline.glance.evidence import Glimpses
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.skeleton import BLAZEPOSE_33, COCO_17, Skeleton

# The same operations in the same order; some compilers join a product and a sum.
CLOSE = {"rtol": 1e-12, "atol": 1e-9}


def walked(model: CatmullRom, skeleton: Skeleton, random: np.random.Generator) -> MotionWindow:
    """A window after some keyframes, with joints and people that were not seen, and spacings off the grid."""
    window, time_s, joints = MotionWindow(model, skeleton=skeleton), 0.0, len(skeleton)
    for _ in range(int(random.integers(1, 9))):
        pose = standing_pose(x_px=200 + 90 * time_s)[:joints] + random.normal(0, 5, (joints, 2))
        if window.space.name == "world":
            pose = np.concatenate([pose / 200, random.normal(0, 0.1, (joints, 1))], axis=1)
        if random.random() < 0.4:
            pose[random.integers(0, joints, 3)] = np.nan
        window.push(None if random.random() < 0.15 else pose, random.random(joints), time_s)
        time_s += random.choice([1 / 3, 1 / 3, 0.1, 0.5, random.uniform(0.05, 0.9)])
    return window


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([with_sigma("image"), with_sigma("world"), CatmullRom("image", step=1, horizon=0)]),
    st.sampled_from([BLAZEPOSE_33, COCO_17]),  # the second lacks joints of the network
    st.integers(0, 10**6),
)
def test_a_curve_equals_the_reference(model, skeleton, seed):
    random = np.random.default_rng(seed)
    curve = walked(model, skeleton, random).curve
    if curve is None:  # nobody was ever seen
        return
    times = np.array([*curve.slots.time_s, *(seen_s for seen_s, _ in curve.sightings), *random.uniform(-0.5, 6, 20)])
    result, truth = curve.at(times), curve_at(curve, times)
    np.testing.assert_array_equal(result.origin, truth.origin)
    np.testing.assert_allclose(result.poses, truth.poses, **CLOSE)
    np.testing.assert_allclose(result.scores, truth.scores, **CLOSE)
    assert (result.sigma is None) == (truth.sigma is None)
    if result.sigma is not None and truth.sigma is not None:
        np.testing.assert_allclose(result.sigma, truth.sigma, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.sampled_from([0.0, 0.4, 1.0]), st.booleans(), st.integers(0, 10**6))
def test_glimpses_equal_the_reference(count, worth, has_sigma, seed):
    random = np.random.default_rng(seed)
    seen_s = np.cumsum(random.uniform(0.02, 0.06, count))
    poses, sigma = random.normal(100, 30, (count, 17, 2)), random.uniform(0.5, 5, (count, 17))
    since_s = float(random.choice([0.0, seen_s[-1]]))
    glimpses = Glimpses(seen_s, poses, sigma, 0.25, worth, 60.0, random.random((count, 17)) < 0.7, since_s, 100.0)
    times = np.array([*seen_s, *random.uniform(-0.1, 0.6, 5)])
    newest_s = tuple(glimpses._newest_s.tolist())
    window: Any = random.normal(100, 30, (len(times) + 2, 17, 2))
    its_sigma = np.where(random.random(window.shape[:2]) < 0.1, np.nan, 3.0) if has_sigma else None
    window[:, 3] = np.nan  # a joint that nobody ever saw
    all_times = np.array([*times, *newest_s])
    result = glimpses._native.at(all_times, window, its_sigma)
    truth = corrections(glimpses, times, newest_s, window, its_sigma)
    np.testing.assert_allclose(result[0], truth[0], **CLOSE)
    np.testing.assert_array_equal(result[2], truth[2])
    assert (result[1] is None) == (not has_sigma)
    if truth[1] is not None:
        np.testing.assert_allclose(result[1], truth[1], **CLOSE)


def arguments(**changes: Any) -> dict[str, Any]:
    """Those of a curve of 2 keyframes, 3 joints in a plane and 6 grid steps."""
    own: dict[str, Any] = {
        "knot_s": np.array([0.0, 1.0, 2.0]),
        "knot_steps": np.array([0.0, 3.0, 5.0]),
        "rows": np.zeros((2, 9)),
        "sighting_s": np.zeros((1, 3)),
        "moves": np.zeros((6, 6)),
        "scale": 1.0,
        "sigma": np.ones((6, 3)),
        "offset": None,
        "bridge_s": (0.0, 0.0),
        "interval": 3,
        "newest": 3,
        "horizon": 2,
        "rate_hz": 30.0,
        "same_time_s": 1e-6,
        "wide_gap_s": 0.15,
        "dims": 2,
    }
    return own | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"knot_s": np.array([0.0, 2.0, 1.0])}, "knot_s must be finite and grow, found 1.0"),
        ({"knot_s": np.array([0.0, 1.0])}, r"knot_s must have shape \[3\], found \[2\]"),
        ({"knot_steps": np.array([0.0, 3.0, 6.0])}, "knot_steps must grow from 0 or more to 5, found 6"),
        ({"rows": np.zeros((2, 8))}, r"rows must have shape \[-1, 9\], found \[2, 8\]"),
        ({"rows": [[0.0] * 9] * 2}, "rows must be a numpy array, found list"),
        ({"sigma": np.full((6, 3), "x")}, "sigma must hold numbers, found <U1"),
        ({"moves": np.zeros((5, 6))}, r"moves must have shape \[6, 6\], found \[5, 6\]"),
        ({"newest": 2**40}, "newest must be from 1 to 1048576, found"),
        ({"rate_hz": float("nan")}, "rate_hz must be positive, found nan"),
    ],
)
def test_wrong_arguments_are_refused(changes, words):
    assert _C.Curve(**arguments()).at(np.array([0.5]))[0].shape == (1, 3, 2)
    with pytest.raises((TypeError, ValueError), match=words):
        _C.Curve(**arguments(**changes))


def test_times_must_be_finite():
    with pytest.raises(ValueError, match="times_s must be finite, found nan"):
        _C.Curve(**arguments()).at(np.array([0.0, np.nan]))

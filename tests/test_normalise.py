"""Tests of distances in body scales: many poses at once have those of each by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.moving import standing

from mixsynth_stream.normalise import distance_in_scales, distances_in_scales


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["nothing", "a joint", "a pose", "the other"]), st.floats(0.5, 300.0), st.integers(0, 10**6))
def test_many_poses_are_as_far_from_one_as_each(unseen, min_scale, seed):
    random = np.random.default_rng(seed)
    other = standing((160.0, 150.0))
    poses = other + random.normal(0, 20, (3, 4, *other.shape))
    if unseen == "a joint":
        poses[1, 2, int(random.integers(len(other)))] = np.nan
    elif unseen == "a pose":
        poses[1, 2] = np.nan
    elif unseen == "the other":
        other[int(random.integers(len(other)))] = np.nan
    each = [[distance_in_scales(pose, other, min_scale) for pose in row] for row in poses]
    np.testing.assert_allclose(distances_in_scales(poses, other, min_scale), each, rtol=1e-12)

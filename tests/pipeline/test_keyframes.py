"""KeyframeClock: keyframes follow the grid, whatever the source's rate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixsynth_stream.pipeline.keyframes import KeyframeClock


def keyframe_indices(times, every=10):
    clock, indices = KeyframeClock(every), []
    for index, time_s in enumerate(times):
        if clock.is_due(time_s):
            clock.tick(time_s)
            indices.append(index)
    return indices


@pytest.mark.parametrize(
    ("rate_hz", "expected"),
    [
        (30, [0, 10, 20, 30]),
        (60, [0, 20, 40, 60]),
        (25, [0, 9, 17, 25]),
        (30000 / 1001, [0, 10, 20, 30]),
        (2, [0, 1, 2, 3]),
    ],
)
def test_keyframes_follow_the_30_hz_grid_at_any_rate(rate_hz, expected):
    times = 5.0 + np.arange(int(rate_hz * 1.2) + 4) / rate_hz
    assert keyframe_indices(times)[:4] == expected


def test_time_stamps_rounded_to_milliseconds_make_no_difference():
    times = np.arange(100) / 30
    assert keyframe_indices(np.floor(times * 1000) / 1000) == keyframe_indices(times)


@given(st.lists(st.floats(0.001, 1.5), min_size=1, max_size=60))
def test_at_most_one_keyframe_a_period_and_no_gap_longer_than_needed(steps):
    times = np.cumsum(steps)
    indices = keyframe_indices(times)
    assert indices[0] == 0
    for a, b in pairwise(indices):
        assert all(times[i] - times[0] < (np.floor((times[a] - times[0] + 2e-3) * 3) + 1) / 3 for i in range(a + 1, b))

"""Course: pictures of the newest gap are read where the curve needs them, once, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from mixsynth_stream.pipeline.course import Course, Points, Shifts

KEYFRAME_S = 1.0
BEFORE = np.array([0.4, 0.5, 0.6, 0.7, 0.8])
GAP = np.array([0.85, 0.9, 0.95])


def course(calls: list[str]) -> Course:
    rng = np.random.default_rng(3)
    before = Points(BEFORE, rng.normal(size=(len(BEFORE), 4, 2)))

    def seen() -> Shifts:
        calls.append("seen")
        offsets = np.pad(rng.normal(size=(len(GAP), 4, 2)), ((1, 1), (0, 0), (0, 0)))
        return Shifts(np.array([BEFORE[-1], *GAP, KEYFRAME_S]), offsets)

    def way(times: np.ndarray) -> np.ndarray:
        return np.broadcast_to(times[:, None, None], (len(times), 4, 2))

    return Course(before, KEYFRAME_S, np.ones((4, 2)), seen, way)


@pytest.mark.parametrize(
    ("times", "needs_gap"),
    [([0.45, 0.55], False), ([0.5, 0.7], False), ([0.5, 0.72], True), ([0.6, 0.8], True), ([0.7, 0.93], True)],
)
def test_the_gap_is_read_where_two_poses_on_both_sides_lie_in_it(times: list[float], needs_gap: bool) -> None:
    calls: list[str] = []
    lazy = course(calls)
    poses = lazy.at(np.array(times))
    assert calls == ["seen"] * needs_gap
    np.testing.assert_array_equal(poses, course([]).points.at(np.array(times)))
    np.testing.assert_array_equal(lazy.points.time_s, [*BEFORE, *GAP, KEYFRAME_S])
    np.testing.assert_array_equal(lazy.at(GAP), lazy.points.poses[len(BEFORE) : -1])
    assert calls == ["seen"]


def test_the_first_keyframe_is_all_there_is() -> None:
    first = Course(None, 0.0, np.ones((4, 2)))
    assert first.start_s == 0.0
    second = Course(first.points, 1.0, np.zeros((4, 2)))
    np.testing.assert_array_equal(second.points.time_s, [0.0, 1.0])

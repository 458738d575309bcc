"""Poses: rows and times are taken from every array alike, and nobody's row is missing."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixsynth_stream.pipeline.motion import Forecast, Motion, Origin, Poses

# Each array's numbers a joint.
WIDTHS = {"poses": (2,), "world": (3,), "scores": (), "origin": (), "sigma": (), "world_sigma": (), "rotations": (6,)}
OPTIONAL = ("sigma", "world_sigma", "rotations")


def poses_of(people: int, *times: int, without: frozenset[str] = frozenset(), seed: int = 0) -> Poses:
    """[P, *times] random poses of 5 joints; the arrays in `without` are None."""
    random = np.random.default_rng(seed)
    arrays = {
        name: random.integers(0, 5, (people, *times, 5)).astype(np.uint8)
        if name == "origin"
        else random.random((people, *times, 5, *width))
        for name, width in WIDTHS.items()
        if name not in without
    }
    return Poses(**arrays)


some_poses = st.builds(
    poses_of,
    st.integers(0, 4),
    st.integers(1, 3),
    without=st.frozensets(st.sampled_from(OPTIONAL)),
    seed=st.integers(0, 99),
)


def assert_each_array(poses: Poses, whole: Poses, index: object) -> None:
    """`poses` holds `whole`'s arrays, each under `index`, and None where `whole` has None."""
    for name in WIDTHS:
        values, expected = getattr(poses, name), getattr(whole, name)
        if expected is None:
            assert values is None, name
        else:
            np.testing.assert_array_equal(values, expected[index], err_msg=name, strict=True)


def test_every_array_of_poses_is_known_here() -> None:
    assert list(WIDTHS) == [field.name for field in fields(Poses)]


@given(some_poses, st.data())
def test_take_is_each_array_under_the_rows(whole: Poses, data: st.DataObject) -> None:
    people = len(whole.poses)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=people, max_size=people)), bool)
    assert_each_array(whole.take(mask), whole, mask)
    numbers = st.integers(-people, people - 1) if people else st.nothing()
    rows = np.array(data.draw(st.lists(numbers, max_size=6 * bool(people))), int)
    assert_each_array(whole.take(rows), whole, rows)


@given(some_poses, st.data())
def test_at_is_each_array_at_one_time(whole: Poses, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, whole.poses.shape[1] - 1))
    assert_each_array(whole.at(index), whole, (slice(None), index))


@given(some_poses)
def test_the_row_of_nobody_is_missing_and_changes_nobody_else(whole: Poses) -> None:
    longer = whole.with_missing_row()
    assert_each_array(longer.take(np.arange(len(whole.poses))), whole, slice(None))
    row = longer.take(np.array([-1]))
    assert (row.origin == Origin.MISSING).all() and row.origin.dtype == np.uint8
    assert (row.scores == 0).all()
    for name, values in row.arrays().items():
        assert values.shape == (1, *getattr(whole, name).shape[1:])
        assert name in ("origin", "scores") or np.isnan(values).all(), name


def test_motion_and_forecast_are_poses_that_can_be_taken_from() -> None:
    arrays = poses_of(3, without=frozenset(["rotations"])).arrays()
    motion = Motion(index=7, time_s=0.25, final=True, keyframe=False, ids=np.arange(3), measured=None, **arrays)
    assert_each_array(motion.take(np.array([2, 0])), motion, [2, 0])
    ahead = Forecast(time_s=np.array([0.3, 0.4]), **poses_of(3, 2).arrays())
    assert_each_array(ahead.at(1), ahead, (slice(None), 1))

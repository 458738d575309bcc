"""Sides: left and right that an estimator confused are put right, and a person who turns is believed."""

from __future__ import annotations

import numpy as np
from support.fakes import person, standing_pose

from mixsynth_stream.pipeline.estimators.figure import Figure
from mixsynth_stream.pipeline.estimators.sides import Sides, exchanged, is_exchanged
from mixsynth_stream.skeleton import BLAZEPOSE_33

MIRROR = list(BLAZEPOSE_33.mirror)
FIGURE = Figure(BLAZEPOSE_33.name)


def known(sides: Sides, one: int = 0) -> None:
    """See a person three times as expected, so that their sides are known."""
    for _ in range(3):
        sides.settled(person(), one, standing_pose())


def test_exchanged_sides_are_put_right_in_every_array():
    sides = Sides(FIGURE)
    known(sides)
    truth = person()
    truth.scores[13] = 0.5
    settled = sides.settled(exchanged(truth, FIGURE), 0, standing_pose(x_px=310))
    assert (settled.pose == truth.pose).all()
    assert (settled.world == truth.world).all()
    assert (settled.scores == truth.scores).all()


def test_a_person_seen_for_the_first_time_is_believed():
    confused = exchanged(person(), FIGURE)
    assert Sides(FIGURE).settled(confused, 0, standing_pose()) is confused


def test_an_estimator_that_insists_is_believed():
    sides = Sides(FIGURE)
    known(sides)
    poses = [sides.settled(exchanged(person(), FIGURE), 0, standing_pose()).pose for _ in range(3)]
    assert (poses[0] == standing_pose()).all() and (poses[1] == standing_pose()).all()
    assert (poses[2] == standing_pose()[MIRROR]).all()


def test_each_person_has_sides_of_their_own():
    sides = Sides(FIGURE)
    known(sides, 0)
    confused = exchanged(person(), FIGURE)
    assert sides.settled(confused, 1, standing_pose()) is confused
    sides.keep({1})
    assert sides.settled(confused, 0, standing_pose()) is confused


def test_a_person_seen_from_the_side_is_left_alone():
    pose = standing_pose()
    pose[:, 0] = 300 + (pose[:, 0] - 300) * 0.1
    assert not is_exchanged(pose[MIRROR], pose, FIGURE)


def test_a_quick_turn_of_the_body_is_no_confusion():
    before, after = standing_pose(), standing_pose()
    after[:, 0] = 300 + (after[:, 0] - 300) * -0.2  # past the profile
    assert not is_exchanged(after, before * 0.5 + after * 0.5, FIGURE)


def test_somebody_far_from_where_they_were_expected_is_left_alone():
    pose = standing_pose(x_px=900)
    assert not is_exchanged(pose[MIRROR], standing_pose(), FIGURE)
    assert not is_exchanged(np.full((33, 2), np.nan), standing_pose(), FIGURE)

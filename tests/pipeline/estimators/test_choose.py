"""as_estimator: any callable of the user's, and what is refused of one. stream_estimator: which one a Stream asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.fakes import person

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.choose import as_estimator, stream_estimator
from mixsynth_stream.pipeline.estimators.estimator import CallableEstimator, Estimator
from mixsynth_stream.pipeline.estimators.follow import FollowingEstimator
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33

BLANK = np.zeros((2, 2, 3), np.uint8)


def everyone(*people: Any) -> Callable[[np.ndarray, float], list[Any]]:
    return lambda rgb, time_s: list(people)


def test_a_callable_becomes_an_estimator() -> None:
    one = person()
    estimator = as_estimator(everyone(one, (one.pose.tolist(), one.world, one.scores)), skeleton="BlazePose-33")
    assert estimator.skeleton == "BlazePose-33"
    first, second = estimator(BLANK, 0.0)
    np.testing.assert_array_equal(first.pose, second.pose)
    assert as_estimator(everyone(), BLAZEPOSE_33)(BLANK, 0.0) == []


def test_a_callable_may_carry_its_skeleton_and_be_closed() -> None:
    class Mine:
        skeleton = "BlazePose-33"
        open = True

        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            return [person()]

        def close(self) -> None:
            self.open = False

    mine = Mine()
    estimator = as_estimator(mine)
    assert len(estimator(BLANK, 0.0)) == 1
    estimator.close()
    assert not mine.open
    assert as_estimator(estimator) is estimator


def test_joints_that_were_not_seen_are_nan() -> None:
    one = person()
    pose, scores = one.pose.copy(), one.scores.copy()
    pose[15], scores[15] = np.nan, np.nan
    estimate = as_estimator(everyone((pose, one.world, scores)), "BlazePose-33")(BLANK, 0.0)[0]
    assert np.isnan(estimate.pose[15]).all() and estimate.scores[15] == 0.0


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"'COCO-16' is not known \(do you mean COCO-17\?\): give one of BlazePose-33, "
    ):
        as_estimator(everyone(), skeleton="COCO-16")
    with pytest.raises(ModelError, match="does not say its skeleton"):
        as_estimator(everyone())
    with pytest.raises(ModelError, match=r"must be callable as \(rgb, time_s\) -> people, found int"):
        as_estimator(7)


POSE, WORLD, SCORES = person().pose, person().world, person().scores
HALF_NAN = np.where(np.arange(66).reshape(33, 2) == 23, np.nan, POSE)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (None, "must return a list of people.* found NoneType"),
        (person(), "must return a list of people.* found Person"),
        ([(POSE, WORLD)], r"person 0 at 1\.500 s must be a Person or a \(pose, world, scores\) tuple, found 2 values"),
        ([person(), (POSE[:17], WORLD, SCORES)], r"person 1 at 1\.500 s: pose must be \[33, 2\], found \[17, 2\]"),
        ([(POSE, WORLD[:, :2], SCORES)], r"world must be \[33, 3\], found \[33, 2\]"),
        ([(POSE, [None] * 33, SCORES)], "world must hold numbers, found dtype object"),
        ([(POSE, WORLD, SCORES[:, None])], r"scores must be \[33\], found \[33, 1\]"),
        ([(HALF_NAN, WORLD, SCORES)], "finite or all NaN.* at left_shoulder"),
        ([(np.where(POSE < 200, np.inf, POSE), WORLD, SCORES)], "finite or all NaN"),
        ([(POSE, WORLD, SCORES - 1)], r"scores must lie in 0\.\.1, found -0\.0.* at nose"),
        ([(POSE / 640, WORLD, SCORES)], "they look normalised; multiply by the frame's width and height"),
        ([(None, WORLD, SCORES)], "pose must have a joint in pixels, found metres only"),
        ([(np.full_like(POSE, np.nan), WORLD, SCORES)], "pose must have a joint in pixels, found metres only"),
    ],
)
def test_what_a_callable_returns_is_checked(result: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        as_estimator(lambda rgb, time_s: result, "BlazePose-33")(BLANK, 1.5)


class TestStreamEstimator:
    """The user's choice goes before the source's own estimator, and that before MediaPipe."""

    own = CallableEstimator(everyone(), "BlazePose-33")

    def test_the_sources_own_is_the_default(self) -> None:
        assert stream_estimator(None, self.own, "BlazePose-33", max_people=1) is self.own

    def test_a_choice_goes_before_it(self) -> None:
        choice = CallableEstimator(everyone(person()), "BlazePose-33")
        assert stream_estimator(choice, self.own, "BlazePose-33", max_people=1) is choice
        # A pose model follows, unless the user wants each keyframe searched.
        with stream_estimator("full", self.own, "BlazePose-33", max_people=3) as estimator:
            assert isinstance(estimator, FollowingEstimator) and estimator.max_people == 3
        with stream_estimator("full", self.own, "BlazePose-33", max_people=3, eye="keyframe") as estimator:
            assert isinstance(estimator, MediaPipeEstimator) and estimator.max_people == 3
        with pytest.raises(ValueError, match="eye must be one of follow, keyframe, found 'video'"):
            stream_estimator("full", self.own, "BlazePose-33", max_people=3, eye="video")

    @pytest.mark.parametrize(
        ("choice", "default", "skeleton", "sentence"),
        [
            (None, None, "SMPL-24", "no pose model here gives the rotations of SMPL-24"),
            (None, own, "SMPL-24", "no pose model here gives the rotations of SMPL-24"),
            ("lite", None, "SMPL-24", "no pose model here gives the rotations of SMPL-24"),
            (own, None, "SMPL-24", "gives BlazePose-33, but the networks need SMPL-24"),
            (None, CallableEstimator(everyone(), "SMPL-24"), "BlazePose-33", "gives SMPL-24, but the networks need"),
        ],
    )
    def test_other_joints_than_the_networks_are_refused(
        self, choice: Any, default: Estimator | None, skeleton: str, sentence: str
    ) -> None:
        with pytest.raises(ModelError, match=sentence):
            stream_estimator(choice, default, skeleton, max_people=1)

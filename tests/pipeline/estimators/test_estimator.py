"""Recorded estimates, and any callable of the user's, checked at the door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fakes import person

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33


def recording(frames: int = 5, people: int = 2) -> dict[str, np.ndarray]:
    """`people` standing side by side who step right by 10 pixels a frame, at 10 Hz."""
    everybody = [[person(x_px=200.0 + 150 * p + 10 * f) for p in range(people)] for f in range(frames)]
    return {
        "time_s": np.arange(frames) / 10,
        "poses": np.array([[one.pose for one in row] for row in everybody]),
        "world": np.array([[one.world for one in row] for row in everybody]),
        "scores": np.array([[one.scores for one in row] for row in everybody]),
    }


BLANK = np.zeros((2, 2, 3), np.uint8)


def test_a_recording_replays_by_time(tmp_path: Path) -> None:
    arrays = recording()
    arrays["poses"][2, 1] = np.nan
    np.savez(tmp_path / "estimates.npz", **arrays)
    estimator = ArrayEstimator(tmp_path / "estimates.npz")
    assert [len(estimator(BLANK, t)) for t in (0.0, 0.1, 0.2, 0.3, 0.4)] == [2, 2, 1, 2, 2]
    np.testing.assert_array_equal(estimator(BLANK, 0.3)[1].pose, arrays["poses"][3, 1])
    np.testing.assert_array_equal(estimator(BLANK, 0.349)[1].pose, arrays["poses"][3, 1])
    np.testing.assert_array_equal(estimator(BLANK, 0.26)[0].world, arrays["world"][3, 0])
    with pytest.raises(ModelError, match=r"nothing within 0\.051 s of 0\.500 s \(they span 0\.000 to 0\.400 s\)"):
        estimator(BLANK, 0.5)


def test_one_person_may_leave_the_axis_of_people_out() -> None:
    arrays = {key: value if key == "time_s" else value[:, 0] for key, value in recording().items()}
    del arrays["scores"]
    one = ArrayEstimator(arrays)(BLANK, 0.2)
    assert len(one) == 1 and (one[0].scores == 1).all()
    np.testing.assert_array_equal(one[0].pose, arrays["poses"][2])


def test_sparse_recordings_do_not_answer_for_frames_between() -> None:
    arrays = recording()
    arrays["time_s"] = np.arange(5) / 3
    with pytest.raises(ModelError, match=r"nothing within 0\.051 s of 0\.500 s"):
        ArrayEstimator(arrays)(BLANK, 0.5)


def changed(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in {**recording(), **values}.items() if value is not None}


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (changed(world=None), "no array 'world'; found poses, scores, time_s"),
        (changed(time_s=np.zeros(5)), r"time_s must be \[F\] and increase"),
        (changed(poses=np.full((5, 17, 2), 50.0)), r"poses must be \[5, P, 33, 2\] or .* found \[5, 17, 2\]"),
        (changed(world=recording(people=1)["world"]), "must agree in frames and people"),
        (changed(poses=recording()["poses"] / 640), "frame 0, person 0: pose must be in pixels.*look normalised"),
        (changed(world=recording()["world"] * 1000), "world must be in metres"),
        (changed(scores=recording()["scores"] * 100), "scores must lie in 0..1, found 90.0.* at nose"),
        (changed(poses=recording()["poses"].astype(str)), "poses must hold numbers, found dtype <U"),
        (changed(skeleton="COCO-17"), "skeleton 'COCO-17' is not supported: estimators must give BlazePose-33"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        ArrayEstimator(arrays)


def test_files_that_are_no_recording(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file of recorded estimates"):
        ArrayEstimator(tmp_path / "none.npz")
    for name, data in (("text.npz", b"words"), ("empty.npz", b""), ("cut.npz", b"PK\x03\x04 cut off")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=f"{name} is not a file of recorded estimates"):
            ArrayEstimator(tmp_path / name)


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
    found = as_estimator(everyone((pose, one.world, scores)), "BlazePose-33")(BLANK, 0.0)[0]
    assert np.isnan(found.pose[15]).all() and found.scores[15] == 0.0


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(ModelError, match="the skeleton 'COCO-17' is not supported: estimators must give BlazePose-33"):
        as_estimator(everyone(), skeleton="COCO-17")
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
        ([(POSE, None, SCORES)], "world must hold numbers, found dtype object"),
        ([(POSE, WORLD, SCORES[:, None])], r"scores must be \[33\], found \[33, 1\]"),
        ([(HALF_NAN, WORLD, SCORES)], "finite or all NaN.* at left_shoulder"),
        ([(np.where(POSE < 200, np.inf, POSE), WORLD, SCORES)], "finite or all NaN"),
        ([(POSE, WORLD, SCORES - 1)], r"scores must lie in 0\.\.1, found -0\.0.* at nose"),
        ([(POSE / 640, WORLD, SCORES)], "they look normalised; multiply by the frame's width and height"),
    ],
)
def test_what_a_callable_returns_is_checked(result: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        as_estimator(lambda rgb, time_s: result, "BlazePose-33")(BLANK, 1.5)

"""At every pose of a recording what windows and simple methods say of the next moments, and how that is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.fakes import CatmullRom, with_sigma
from support.walks import SPEED_PX, recording, times_of

from mixsynth_stream.errors import SourceError
from mixsynth_stream.forecast.ahead import fitting_every, moments, turns_of
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.forecast.score import HorizonScore
from mixsynth_stream.pipeline.motion import Origin, Person
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.skeleton import COCO_17
from mixsynth_stream.spaces import SPACES

MODELS = {"image": CatmullRom("image"), "world": CatmullRom("world")}
AHEAD_S = np.array([0.1, 0.4, 0.9])


def changed(walk: Recording, change) -> Recording:
    """The recording with `change(frame, person)` for each person."""
    people = [{number: change(frame, one) for number, one in seen.items()} for frame, seen in enumerate(walk.people)]
    return replace(walk, people=people)


@pytest.mark.parametrize(
    ("rate_hz", "every"),
    [(30, 10), (60, 10), (25, 10), (120, 10), (10, 10), (3, 10), (6, 10), (2, 15), (1, 15), (0, 10)],
)
def test_the_network_whose_spacing_fits_the_poses_is_taken(rate_hz, every):
    assert fitting_every(1 / rate_hz if rate_hz else float("inf")) == every


@pytest.mark.parametrize(("rate_hz", "turns"), [(30, 10), (60, 20), (25, 8), (3, 1), (1, 1)])
def test_windows_take_turns(rate_hz, turns):
    assert turns_of(1 / rate_hz, 10) == turns


@pytest.mark.parametrize("skeleton", [None, COCO_17])
def test_a_pose_has_the_forecast_of_a_window_with_every_tenth_pose_up_to_it(skeleton):
    walk = recording(times_of(64), *([skeleton] if skeleton else []), ids=(0, 5))
    window = MotionWindow(MODELS["image"], min_scale=0.02 * 720, skeleton=walk.skeleton)
    for moment in moments(walk, MODELS):
        if moment.index % 10 != 3:
            continue
        person = walk.people[moment.index][5]
        window.push(person.pose, person.scores, moment.time_s)
        times = moment.time_s + AHEAD_S
        expected, scene = window.at(times), moment.scene.at(times)
        assert scene.ids.tolist() == [0, 5]
        np.testing.assert_array_equal(scene.poses[1], expected.poses)
        np.testing.assert_array_equal(scene.origin[1], expected.origin)


def test_a_forecast_knows_nothing_that_comes_later():
    walk = recording(times_of(60))
    other = changed(walk, lambda frame, one: one if frame <= 40 else replace(one, pose=one.pose + 500))
    for moment, twin in zip(moments(walk, MODELS), moments(other, MODELS), strict=True):
        if moment.index <= 40:
            times = moment.time_s + AHEAD_S
            np.testing.assert_array_equal(moment.scene.at(times).poses, twin.scene.at(times).poses)


def test_who_was_away_for_longer_begins_anew():
    walk = recording(np.concatenate([times_of(30), 5.0 + times_of(30)]))
    origins = [moment.scene.at([moment.time_s + 0.2]).origin[0, 0, 0] for moment in moments(walk, MODELS)]
    held = [index for index, origin in enumerate(origins) if origin == Origin.HELD]
    assert held == [*range(10), *range(30, 40)]


def test_uneven_times_and_missing_frames_are_resampled():
    rng = np.random.default_rng(0)
    times = (times_of(150) + rng.uniform(-0.01, 0.01, 150))[rng.uniform(size=150) > 0.3]
    walk = recording(times)
    off_px = []
    for moment in moments(walk, MODELS):
        hips = moment.scene.at([moment.time_s + 0.1]).poses[0, 0, 23:25, 0].mean()
        off_px.append(abs(hips - 300 - SPEED_PX * (moment.time_s + 0.1)))
    assert np.median(off_px[40:]) < 2.0


def test_a_joint_that_is_never_seen_costs_its_own_row_only():
    def without_nose(frame: int, one: Person) -> Person:
        pose = one.pose.copy()
        pose[0] = np.nan
        return replace(one, pose=pose)

    walk = changed(recording(times_of(40)), without_nose)
    last = list(moments(walk, MODELS))[-1]
    poses = last.scene.at([last.time_s + 0.2])
    assert poses.origin[0, 0].tolist() == [Origin.MISSING, *[Origin.FORECAST] * 32]


def test_errors_are_those_of_known_motion():
    """Everybody goes to the right evenly, 0.9 torso lengths a second, with arms that are still."""
    walk = recording(times_of(90))
    still = walk.people[0][0]
    steps = [np.array([SPEED_PX * time_s, 0.0]) for time_s in walk.time_s.tolist()]
    walk = replace(walk, people=[{0: replace(still, pose=still.pose + step)} for step in steps])
    models = {"image": with_sigma("image"), "world": CatmullRom("world")}
    score = HorizonScore(walk, models, 0.9)
    for moment in moments(walk, models):
        score.take(moment)
    image, world = score.evaluations()
    value = {(row.method, row.horizon_ms): row.value for row in image.rows if row.metric == "mpjpe"}
    for horizon_ms in range(100, 1000, 100):
        assert value["hold", horizon_ms] == pytest.approx(0.9 * horizon_ms / 1000, abs=1e-6)
        assert value["constant_velocity", horizon_ms] == pytest.approx(0.0, abs=1e-6)
        assert 0.0 < value["network", horizon_ms] < value["hold", horizon_ms]
    assert sum(row.poses for row in image.rows if row.method == "hold") == sum(90 - 10 - 3 * h for h in range(1, 10))
    assert "% of joints within the bound of 90 %" in image.title and "walk, image-n10" in image.title
    assert all(row.value < 1e-6 for row in world.rows if row.method == "hold")
    assert {row.unit for row in world.rows if row.metric == "mpjpe"} == {"mm"}


@pytest.mark.parametrize(("jitter_px", "source"), [(0.0, 1), (6.0, 0)])
def test_simple_methods_know_every_pose_where_that_is_better(jitter_px, source):
    """Without jitter the velocity between two poses is exact; with jitter that of keyframes is closer."""
    rng = np.random.default_rng(1)

    def with_jitter(frame: int, one: Person) -> Person:
        pose = one.pose + rng.normal(0, jitter_px, one.pose.shape)
        return replace(one, pose=pose, world=np.full_like(one.world, np.nan))

    walk = changed(recording(times_of(90)), with_jitter)
    score = HorizonScore(walk, MODELS, 0.1)
    off_px = []
    for moment in moments(walk, MODELS):
        score.take(moment)
        if 10 <= moment.index < 87:
            truth = walk.people[moment.index + 3][0].pose
            times = [float(walk.time_s[moment.index + 3])]
            ahead = [one.at("constant_velocity", times)[0, :, :2] for one in moment.simple[0]]
            off_px.append([np.linalg.norm((one - truth)[SPACES["image"].core], axis=-1).mean() for one in ahead])
    means = np.mean(off_px, axis=0)
    assert means.argmin() == source
    (image,) = score.evaluations()
    value = next(row.value for row in image.rows if row.method == "constant_velocity")
    assert value * 100 == pytest.approx(means[source], rel=0.1)  # torsos are about 100 pixels long


def test_poses_that_are_far_apart_are_judged_at_the_horizon_that_they_are_near():
    walk = recording(times_of(30, 3.0))
    score = HorizonScore(walk, MODELS, 0.9)
    for moment in moments(walk, MODELS):
        score.take(moment)
    assert sorted({row.horizon_ms for row in score.evaluations()[0].rows}) == [300, 700]


def test_one_pose_is_a_recording_without_a_forecast_that_came_true():
    walk = recording(times_of(1))
    (moment,) = moments(walk, MODELS)
    assert (moment.scene.at([1.0]).origin == Origin.HELD).all()
    score = HorizonScore(walk, MODELS, 0.9)
    score.take(moment)
    assert [evaluation.rows for evaluation in score.evaluations()] == [[], []]


@pytest.mark.parametrize("times", [[0.0, 0.1, 0.1], [0.0, np.nan, 0.2], [0.2, 0.1, 0.3]])
def test_times_must_grow(times):
    with pytest.raises(SourceError, match="times must be finite and grow"):
        recording(np.array(times))

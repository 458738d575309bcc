"""SelfScore: forecasts are judged by what the estimator sees later."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from support.fakes import models, person

from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX, random_cameras, to_image, to_world
from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.forecast.self_score import NETWORK, SelfScore
from mixsynth_stream.pipeline.motion import Motion, Origin, Person
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.spaces import SPACES
from mixsynth_stream.weights import load_model

CLIPS = Path(__file__).parents[3] / "benchmarks" / "mocap" / "cmu_val.npz"
PICTURE = np.zeros((48, 64, 3), np.uint8)


def score_of(x_px, seconds: float = 8.0, *, people=lambda time_s: True) -> SelfScore:
    """The score of a stream in which somebody moves sideways."""

    def estimator(rgb, time_s):
        return [person(x_px=x_px(time_s))] if people(time_s) else []

    with Stream(models=models(), estimator=as_estimator(estimator, "BlazePose-33"), cuts=False, glance=False) as stream:
        for k in range(round(3 * seconds)):  # each frame is a keyframe
            stream.push(PICTURE, k / 3, wait=True)
    assert stream.score is not None
    return stream.score


def test_constant_velocity_is_without_error_for_somebody_of_constant_velocity():
    errors = score_of(lambda time_s: 200 + 60 * time_s).errors()
    assert list(errors) == [0.4, 0.8]  # keyframes are a third of a second apart
    for horizon_s, row in errors.items():
        assert row["constant_velocity"] < 0.1 * row["hold"]
        assert row["kalman"] < 0.5 * row["hold"]
        assert row[NETWORK] < row["hold"], horizon_s
    scale_px = float(scale_of(person().pose[SPACES["image"].core]))
    assert errors[0.4]["hold"] == pytest.approx(20 / scale_px, rel=0.01)
    assert errors[0.8]["hold"] == pytest.approx(40 / scale_px, rel=0.01)


def test_a_simple_method_that_did_better_is_named():
    """The untrained network goes on with a speed that somebody who turns at each keyframe has not."""
    score = score_of(lambda time_s: 200 + 40 * (round(3 * time_s) % 2), seconds=16)
    assert score.better() in ("hold", "kalman")
    assert score.ratio() > 1
    assert "did better" in str(score)
    assert score_of(lambda time_s: 200 + 60 * time_s, seconds=3).better() is None  # too few to say


def test_nobody_is_judged_across_a_gap_in_which_they_were_not_seen():
    score = score_of(lambda time_s: 200.0, seconds=4, people=lambda time_s: round(3 * time_s) % 2 == 0)
    assert score.errors() == {} and score.ratio() is None and str(score) == ""


def test_only_the_last_minute_counts():
    assert score_of(lambda time_s: 200 + 60 * min(time_s, 5.0), 60).errors()[0.4]["hold"] > 0.001
    assert score_of(lambda time_s: 200 + 60 * min(time_s, 5.0), 70).errors()[0.4]["hold"] == pytest.approx(0, abs=1e-9)


class Acting:
    """A stream that chooses its keyframes, in which each frame is one: a third of a second apart."""

    def __init__(self) -> None:
        self.x_px, self.frame = 200.0, 0
        estimator = as_estimator(lambda rgb, time_s: [person(x_px=self.x_px)], "BlazePose-33")
        self.stream = Stream(estimator=estimator, every="auto", models=models(sample_interval=10), cuts=False)

    def show(self, x_px: float) -> list[Motion]:
        """One frame, in which the person stands at `x_px`."""
        self.x_px, self.frame = x_px, self.frame + 1
        return self.stream.push(PICTURE, self.frame / 3, wait=True)

    @property
    def time_s(self) -> float:
        return self.frame / 3


def test_where_a_simple_method_was_better_it_forecasts_until_it_no_longer_is():
    """The untrained network goes on with the newest speed, which is wrong where somebody turns at each keyframe."""
    acting = Acting()
    methods = []
    with acting.stream as stream:
        for k in range(60):
            acting.show(200 + 30 * (k % 2))
            methods.append(stream.score.method)
        assert methods[:30] == [NETWORK] * 30  # ten seconds of evidence at least
        simple = methods[-1]
        assert simple in ("hold", "kalman") and methods.count(simple) >= 25
        assert f"{simple} did better and forecasts now" in str(stream.score)
        # Now somebody keeps about half of their speed from keyframe to keyframe, as the network expects.
        x_px, speed, random = 200.0, 0.0, np.random.default_rng(0)
        for _ in range(260):
            speed = 0.6 * speed + 20 * random.standard_normal()
            x_px += speed
            acting.show(x_px)
            methods.append(stream.score.method)
        assert methods[-1] == NETWORK
        assert sum(one != other for one, other in itertools.pairwise(methods)) <= 3
        assert "forecasts now" not in str(stream.score)


def test_for_people_who_move_the_network_goes_on():
    """Motion capture, as an estimator that errs by 2 % of the torso sees it, one recording after the other."""
    random, score, time_s = np.random.default_rng(0), SelfScore(acts=True), 0.0
    people = People(tuple(load_model(f"{space}-n5") for space in ("image", "world")), max_people=1)
    for clip in load_clips(CLIPS)[:9]:
        motion = clip.core[None, ::5]
        cameras = random_cameras(random, motion)
        for pose, world in zip(to_image(cameras, motion)[0], to_world(cameras, motion)[0], strict=True):
            pose = pose + 0.02 * float(scale_of(pose)) * random.standard_normal(pose.shape)
            seen = Person(pose[SPACES["image"].carrier], world[SPACES["image"].carrier].astype(float), np.ones(33))
            scene = people.observe([seen], time_s, FRAME_HEIGHT_PX)
            score.keyframe(time_s, people.seen, scene)
            assert score.method == NETWORK
            time_s += 5 / 30
    assert time_s > 30
    assert score.ratio() < 0.8


def test_what_is_shown_and_forecast_comes_from_the_method_in_use():
    acting = Acting()
    with acting.stream as stream:
        for k in range(60):
            motions = acting.show(200 + 30 * (k % 2))
        assert stream.score.method == "hold"
        pose = person(x_px=230).pose
        ahead = stream.at(acting.time_s + 0.2)
        np.testing.assert_allclose(ahead.poses[0], pose)
        np.testing.assert_allclose(ahead.world[0], person(x_px=230).world)
        assert set(ahead.origin[0].tolist()) == {Origin.HELD}
        newest = motions[-1]
        np.testing.assert_allclose(newest.forecast.poses[0], np.broadcast_to(pose, newest.forecast.poses[0].shape))


def test_finals_between_keyframes_stay_the_networks(monkeypatch):
    def run() -> list[Motion]:
        places = itertools.cycle([200, 230])
        estimator = as_estimator(lambda rgb, time_s: [person(x_px=next(places))], "BlazePose-33")
        with Stream(estimator=estimator, every="auto", models=models(), cuts=False) as stream:
            return [motion for k in range(200) for motion in stream.push(PICTURE, k / 10, answer_s=0.25)]

    acting = run()
    monkeypatch.setattr(SelfScore, "in_use", lambda score, scene: scene)
    idle = run()
    differ = {True: 0, False: 0}
    for one, other in zip(acting, idle, strict=True):
        assert (one.index, one.final) == (other.index, other.final)
        differ[one.final] += not np.array_equal(one.poses, other.poses)
    assert differ[True] == 0 and differ[False] > 10


def test_files_are_not_judged():
    nobody = as_estimator(lambda rgb, time_s: [], "BlazePose-33")
    with Stream([PICTURE] * 5, models=models(), estimator=nobody) as stream:
        assert stream.score is None

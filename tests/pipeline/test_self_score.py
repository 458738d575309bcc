"""SelfScore: forecasts are judged by what the estimator sees later."""

from __future__ import annotations

import numpy as np
import pytest
from support.fakes import models, person

from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.self_score import NETWORK, SelfScore
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.spaces import SPACES

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


def test_files_are_not_judged():
    nobody = as_estimator(lambda rgb, time_s: [], "BlazePose-33")
    with Stream([PICTURE] * 5, models=models(), estimator=nobody) as stream:
        assert stream.score is None

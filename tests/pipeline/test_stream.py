"""Stream: every frame once or twice, files and live sources, what is refused, and the same numbers each time."""

from __future__ import annotations

import threading
import time

import av
import numpy as np
import pytest
from support import clips
from support.fakes import models, person

from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.motion import Origin, Person
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.synthetic import SyntheticEstimator, SyntheticScene
from mixsynth_stream.pipeline.stream import Stream

SCENE = SyntheticScene(seconds=3.5, size=(160, 120))
SOURCE = "synthetic:seconds=3.5&size=160x120"


def frames(rate_hz: float = 30.0, seconds: float = 3.5):
    for index in range(round(rate_hz * seconds)):
        yield np.zeros((120, 160, 3), np.uint8), index / rate_hz


def same(a, b):
    assert (a.index, a.time_s, a.final, a.keyframe) == (b.index, b.time_s, b.final, b.keyframe)
    for name in ("ids", "poses", "world", "scores", "origin"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_every_frame_once_and_one_estimator_call_a_keyframe():
    with Stream(SOURCE, models=models()) as stream:
        motions = list(stream)
    assert [m.index for m in motions] == list(range(105))
    assert all(m.final and len(m.ids) == 1 for m in motions)
    assert stream.stats.estimator_calls == stream.stats.keyframes == sum(m.keyframe for m in motions) == 12
    assert motions[-1].keyframe  # so that every frame lies between two
    assert {int(o) for m in motions for o in m.origin[0]} == {Origin.MEASURED, Origin.FILLED}


def test_poses_follow_the_person():
    with Stream(SOURCE, models=models()) as stream:
        for motion in stream:
            truth = SCENE.truth(motion.time_s)[0]
            # A stride lasts 1.1 s and keyframes come every 0.33 s: feet are the hard part, the body is not.
            assert np.linalg.norm(motion.poses[0] - truth.pose, axis=1)[[11, 12, 23, 24]].max() < 2.0
            assert np.linalg.norm(motion.world[0] - truth.world, axis=1)[[11, 12, 23, 24]].max() < 0.05


def test_push_gives_what_the_file_gives():
    with Stream(SOURCE, models=models()) as stream:
        whole = list(stream)
    # Pushed pictures are followed by default, and the file's are not.
    pushed, motions = Stream(models=models(), lag=1, estimator=SyntheticEstimator(SCENE), glance=False), []
    for index in range(105):
        motions += pushed.push(np.zeros((120, 160, 3), np.uint8), index / 30, wait=True)
    motions += pushed.close()
    for a, b in zip(whole, motions, strict=True):
        same(a, b)


def test_iterator_of_frames_is_a_source():
    with Stream(frames(), models=models(), estimator=SyntheticEstimator(SCENE)) as stream:
        motions = list(stream)
    assert len(motions) == 105
    assert stream.lag == 1


def test_lag_0_finals_equal_lag_1():
    with Stream(SOURCE, models=models()) as stream:
        late = list(stream)
    with Stream(SOURCE, models=models(), lag=0) as stream:
        motions = list(stream)
    finals = [m for m in motions if m.final]
    for a, b in zip(late, finals, strict=True):
        same(a, b)
    assert {m.index for m in motions if not m.final} == set(range(105))


def test_pictures_are_there_in_the_loop_and_gone_after_it():
    with Stream("synthetic:seconds=1&size=64x48", models=models(), lag=0) as stream:
        motions = []
        for motion in stream:
            assert motion.frame is not None
            assert motion.frame.rgb.shape == (48, 64, 3)
            motions.append(motion)
    with pytest.raises(ValueError, match="released"):
        _ = motions[0].frame.rgb


def test_two_runs_are_identical():
    runs = []
    for _ in range(2):
        with Stream(SOURCE, models=models()) as stream:
            runs.append(list(stream))
    for a, b in zip(*runs, strict=True):
        same(a, b)


def test_live_source_gives_provisional_motions_then_finals():
    with Stream("synthetic:seconds=1.5&size=64x48&live=1", models=models()) as stream:
        motions = list(stream)
    assert stream.lag == 0
    finals = [m.index for m in motions if m.final]
    assert finals == sorted(set(finals))
    assert {m.index for m in motions} == set(finals)
    assert stream.stats.frames == len(finals)


def test_live_pictures_may_be_looked_at_while_the_estimator_looks(tmp_path):
    clip = clips.make(tmp_path / "a.mp4", frames=60, size=(640, 480))
    estimator = as_estimator(lambda rgb, time_s: [person()] if rgb.any() else [], "BlazePose-33")
    reader = LiveReader(str(clip), opener=lambda: av.open(str(clip)), retries=0)
    shapes = set()
    with Stream(reader, models=models(), estimator=estimator) as stream, pytest.raises(SourceError, match="lost"):
        shapes.update(motion.frame.rgb.shape for motion in stream)
    assert shapes == {(480, 640, 3)}


def test_live_frames_do_not_wait_for_the_estimator():
    may_answer, seen = threading.Event(), []

    def slow(rgb: np.ndarray, time_s: float) -> list[Person]:
        may_answer.wait(10)
        return [person(x_px=30, y_px=30, size_px=20)]

    with Stream(
        "synthetic:seconds=2&size=64x48&live=1", models=models(), estimator=as_estimator(slow, "BlazePose-33")
    ) as stream:
        for motion in stream:
            seen.append((motion.index, motion.final))
            if len(seen) == 25:  # 25 frames came out before the estimator gave anything
                may_answer.set()
    assert not any(final for _, final in seen[:25])
    assert stream.stats.counters["keyframes_skipped_estimator_busy"] >= 1


def test_a_live_loop_left_early_waits_for_its_estimator():
    """The estimator must not be closed while it looks at a frame."""
    events: list[str] = []
    inside = threading.Event()

    class Slow:
        skeleton = "BlazePose-33"

        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            inside.set()
            time.sleep(0.2)
            events.append("answer")
            return []

        def close(self) -> None:
            events.append("close")

    stream = Stream("synthetic:seconds=9&size=64x48&live=1", models=models(), estimator=Slow(), lag=0)
    motions = iter(stream)  # kept, so that leaving the loop does not end it
    next(motions)
    assert inside.wait(5)
    stream.close()
    stream._supervisor.estimator.close()
    assert events == ["answer", "close"]


def test_estimator_that_sees_nobody_gives_empty_motions():
    nobody = as_estimator(lambda rgb, time_s: [], "BlazePose-33")
    with Stream(frames(seconds=1), models=models(), estimator=nobody) as stream:
        motions = list(stream)
    assert len(motions) == 30
    assert all(m.poses.shape == (0, 33, 2) and m.world.shape == (0, 33, 3) for m in motions)


@pytest.mark.parametrize("error", [SourceError("the cable was pulled"), KeyError("the cable was pulled")])
@pytest.mark.parametrize("lag", [0, 1])
def test_a_source_that_breaks_gives_everything_first(error, lag):
    def broken():
        yield from frames(seconds=0.5)
        raise error

    finals = []
    with Stream(broken(), models=models(), estimator=SyntheticEstimator(SCENE), lag=lag) as stream:
        motions = iter(stream)
        with pytest.raises(type(error), match="cable"):
            finals.extend(motion for motion in motions if motion.final)
    assert [motion.index for motion in finals] == list(range(15))
    assert all(len(motion.ids) == 1 for motion in finals)


def test_a_frame_that_cannot_be_taken_gives_everything_before_it_first():
    def spoiled():
        yield from frames(seconds=0.5)
        yield np.zeros((120, 160), np.uint8), 0.6  # a gray picture

    indices = []
    with Stream(spoiled(), models=models(), estimator=SyntheticEstimator(SCENE)) as stream:
        motions = iter(stream)
        with pytest.raises(ValueError, match="frame 15 must be an rgb array"):
            indices.extend(motion.index for motion in motions)
    assert indices == list(range(15))


def test_one_frame_is_enough():
    with Stream(frames(seconds=1 / 30), models=models(), estimator=SyntheticEstimator(SCENE)) as stream:
        (motion,) = stream
    assert motion.final
    assert (motion.origin == Origin.MEASURED).all()
    assert (motion.forecast.origin == Origin.HELD).all()


def test_several_people_keep_their_ids():
    source = "synthetic:people=2&seconds=6&size=160x120"
    with Stream(source, models=models(), max_people=2) as stream:
        motions = list(stream)
    scene = SyntheticScene(people=2, seconds=6, size=(160, 120))
    assert all(m.ids.tolist() == [0, 1] for m in motions)
    for motion in motions:
        for track, truth in zip(motion.poses, scene.truth(motion.time_s), strict=True):
            assert abs(track[23:25, 0].mean() - truth.pose[23:25, 0].mean()) < 4


def test_forecast_reaches_the_horizon():
    with Stream(SOURCE, models=models(), horizon_s=0.4) as stream:
        motion = list(stream)[60]
    assert motion.forecast.poses.shape == (1, 12, 33, 2)
    np.testing.assert_allclose(motion.forecast.time_s - motion.time_s, np.arange(1, 13) / 30)
    assert (motion.forecast.origin == Origin.FORECAST).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lag": 2}, "lag must be 0 or 1"),
        ({"max_people": 0}, "max_people"),
        ({"horizon_s": -1}, "horizon_s"),
        ({"models": (models()[1], models()[0])}, "image space is needed"),
        ({"models": (models()[0], models(sample_interval=5)[1])}, "same keyframe spacing"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises((ValueError, ModelError), match=says):
        Stream(SOURCE, **{"models": models(), **options})


def test_push_and_iterate_are_told_apart():
    with Stream(SOURCE, models=models()) as stream, pytest.raises(ValueError, match="reads its own source"):
        stream.push(np.zeros((4, 4, 3), np.uint8), 0.0)
    with (
        Stream(models=models(), estimator=SyntheticEstimator(SCENE)) as stream,
        pytest.raises(ValueError, match="no source"),
    ):
        next(iter(stream))


@pytest.mark.parametrize("time_s", [1.0, 0.5, np.inf, -np.inf, np.nan, None, "2", np.zeros(2)])
def test_pushed_times_must_be_finite_and_increase(time_s):
    with Stream(models=models(), estimator=SyntheticEstimator(SCENE)) as stream:
        stream.push(np.zeros((4, 4, 3), np.uint8), 1.0)
        with pytest.raises(ValueError, match="must be finite seconds that increase"):
            stream.push(np.zeros((4, 4, 3), np.uint8), time_s)
        assert stream.push(np.zeros((4, 4, 3), np.uint8), 1.5, wait=True)  # the stream goes on

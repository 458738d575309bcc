"""SyntheticReader and SyntheticEstimator: people whose every joint is known."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.synthetic import (
    SyntheticEstimator,
    SyntheticReader,
    SyntheticScene,
)
from mixsynth_stream.skeleton import BLAZEPOSE_33


def test_the_source_gives_what_its_options_say() -> None:
    with open_source("synthetic:people=2&seconds=2&rate=25&size=320x240") as reader:
        assert (reader.info.width, reader.info.height, reader.info.rate_hz) == (320, 240, 25)
        assert (reader.info.frame_count, reader.info.duration_s, reader.info.live) == (50, 2, False)
        frames = list(reader)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(50) / 25)
    assert frames[0].rgb.shape == (240, 320, 3)
    assert not np.array_equal(frames[0].rgb, frames[5].rgb)


def test_people_are_drawn_where_the_truth_is() -> None:
    scene = SyntheticScene(people=1)
    empty = SyntheticScene(people=0).draw(0.0)
    for time_s in (0.0, 0.7, 3.1):
        drawn = (scene.draw(time_s) != empty).any(axis=2)
        (person,) = scene.truth(time_s)
        x, y = np.round(person.pose[11:]).astype(int).T
        assert drawn[y, x].all()
        assert 0.03 < drawn.mean() < 0.3


def test_pose_is_the_projection_of_world() -> None:
    scene = SyntheticScene()
    (person,) = scene.truth(1.3)
    hips = person.world[23] + person.world[24]
    np.testing.assert_allclose(hips, 0, atol=1e-12)
    # A pinhole camera maps straight 3D lines through it to points: solve for the hips' place, then all must fit.
    focal = 1.1 * 480
    rays = (person.pose - [320, 240]) / focal
    rows = [[[1, 0, -u], [0, 1, -v]] for u, v in rays]
    right = [[u * z - x, v * z - y] for (u, v), (x, y, z) in zip(rays, person.world, strict=True)]
    place, residual, _, _ = np.linalg.lstsq(np.reshape(rows, (-1, 3)), np.ravel(right), rcond=None)
    assert residual[0] < 1e-12
    assert place[2] > 2


def test_bones_keep_their_length_and_motion_is_smooth() -> None:
    worlds = np.array([SyntheticScene().truth(i / 30)[0].world for i in range(60)])
    for first, second in ((11, 13), (13, 15), (23, 25), (25, 27), (11, 12), (23, 24)):
        lengths = np.linalg.norm(worlds[:, first] - worlds[:, second], axis=1)
        assert np.ptp(lengths) < 1e-9, (BLAZEPOSE_33.joints[first], BLAZEPOSE_33.joints[second])
    speed = np.linalg.norm(np.diff(worlds, axis=0), axis=2) * 30
    assert speed.max() < 8  # metres a second: no jumps
    assert speed[:, 27].max() > 0.5  # but feet walk


def test_left_is_left() -> None:
    """Somebody seen partly from the front has the left shoulder on the right of the picture, as MediaPipe sees it."""
    (person,) = SyntheticScene().truth(0.0)
    assert person.pose[11, 0] > person.pose[12, 0]
    assert person.pose[0, 1] < person.pose[23, 1] < person.pose[27, 1]


def test_two_people_cross() -> None:
    scene = SyntheticScene(people=2)
    apart = [np.subtract(*(person.pose[23, 0] for person in scene.truth(i / 10))) for i in range(80)]
    assert max(apart) > 100
    assert min(apart) < -100


def test_the_estimator_sees_the_truth_or_what_is_asked_for() -> None:
    scene = SyntheticScene(people=2)
    rgb = scene.draw(0.5)
    exact = SyntheticEstimator(scene)(rgb, 0.5)
    for seen, true in zip(exact, scene.truth(0.5), strict=True):
        np.testing.assert_array_equal(seen.pose, true.pose)
        np.testing.assert_array_equal(seen.world, true.world)
    noisy = SyntheticEstimator(scene, noise_px=3, seed=1)
    errors = np.array([noisy(rgb, t)[0].pose - scene.truth(t)[0].pose for t in np.arange(40) / 10])
    assert errors.std() == pytest.approx(3, rel=0.1)
    np.testing.assert_array_equal(noisy(rgb, 0.5)[0].pose, noisy(rgb, 0.5)[0].pose)
    missing = SyntheticEstimator(scene, miss_rate=0.25)
    assert np.mean([len(missing(rgb, i / 30)) for i in range(400)]) == pytest.approx(1.5, abs=0.12)


def test_live_frames_are_paced_and_late_ones_counted() -> None:
    with SyntheticReader("synthetic:live=1&rate=100&seconds=0") as reader:
        assert reader.info.live
        assert reader.info.frame_count is None
        reader._start_s = time.perf_counter() - 0.5  # a consumer that was away for half a second
        frames = list(itertools.islice(reader, 10))
    assert frames[0].index >= 50
    assert reader.counters["dropped_consumer_behind"] >= 50
    assert len({frame.index for frame in frames}) == 10


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("synthetic:persons=2", "no option 'persons': choose from people"),
        ("synthetic:people=two", "people=two cannot be read"),
        ("synthetic:size=640", "WIDTHxHEIGHT"),
        ("synthetic:live=yes", "live=yes cannot be read"),
        ("synthetic:rate=0", "above 0"),
        ("synthetic:people=99", r"0\.\.16"),
    ],
)
def test_options_that_do_not_fit_are_named(source: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        open_source(source)

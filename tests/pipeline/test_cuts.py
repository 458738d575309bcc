"""CutDetector: hard cuts are told, and what only looks like one is not."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from support.clips import PERSON
from support.fakes import person
from support.scenes import COLUMNS, ROWS, as_rgb, brighter, scene, shots

from mixsynth_stream.files import ASSETS
from mixsynth_stream.pipeline.cuts import Cut, CutDetector, go_on
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.video import VideoReader


def cuts_of(pictures: Iterable[np.ndarray], rate_hz: float = 30.0) -> list[Cut]:
    detector = CutDetector()
    frames = (frame_from_array(rgb, index / rate_hz, index) for index, rgb in enumerate(pictures))
    cuts = [*map(detector.push, frames), detector.close()]
    return [cut for cut in cuts if cut is not None]


def places(pictures: Iterable[np.ndarray], rate_hz: float = 30.0) -> list[tuple[int, int]]:
    return [(cut.before.index, cut.first.index) for cut in cuts_of(pictures, rate_hz)]


def between(start: int, end: int, other: list[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Forty pictures of a scene, in which others stand in the place of some."""
    pictures = [scene(0, index) for index in range(40)]
    for index in range(start, end):
        pictures[index] = other[index - start] if isinstance(other, list) else other
    return pictures


@pytest.mark.parametrize("rate_hz", [60, 30, 24, 10, 5])
def test_a_hard_cut_lies_between_the_frames_on_both_sides(rate_hz):
    assert places(shots(12, 12, 12), rate_hz) == [(11, 12), (23, 24)]


def test_a_cut_is_told_within_a_tenth_of_a_second_and_judged_until_then():
    detector = CutDetector()
    verdicts = []
    for index, rgb in enumerate(shots(12, 12)):
        cut = detector.push(frame_from_array(rgb, index / 30, index))
        verdicts.append((index, detector.judging, cut is not None))
    assert [index for index, judging, _ in verdicts if judging] == [12, 13, 14]
    assert [index for index, _, cut in verdicts if cut] == [15]


def test_a_cut_two_frames_before_the_end_is_told_at_the_end():
    assert places(shots(20, 2)) == [(19, 20)]


def test_a_picture_that_mixes_both_scenes_belongs_to_neither():
    before, after = shots(12, 1)[-2:]
    blend = as_rgb(0.5 * before[:, :, 1] + 0.5 * after[:, :, 1])
    combed = before.copy()
    combed[1::2] = after[1::2]
    for mixed in (blend, combed):
        assert places([*shots(12), mixed, *[scene(1, index) for index in range(12)]]) == [(11, 13)]


def test_black_between_two_scenes_belongs_to_neither():
    assert places([*shots(12), *[np.zeros((ROWS, COLUMNS, 3), np.uint8)] * 8, *shots(0, 12)]) == [(11, 20)]


def test_a_zoom_cut_into_the_same_view_is_a_cut():
    pictures = [frame.rgb for frame in VideoReader(PERSON)][:30]
    height, width = pictures[0].shape[:2]
    near = [rgb[height // 8 : 5 * height // 8, width // 8 : 5 * width // 8] for rgb in pictures[15:]]
    assert places(pictures[:15] + near) == [(14, 15)]


def test_the_scene_before_that_comes_back_within_a_second_is_a_return():
    covered = shots(0, 10)
    assert [cut.is_return for cut in cuts_of(between(12, 22, covered))] == [False, True]
    assert [cut.is_return for cut in cuts_of(between(12, 22, covered), rate_hz=8.0)] == [False, False]


@pytest.mark.parametrize("clip", [ASSETS / "demo.mp4", ASSETS / "demo_hard.mp4", PERSON], ids=lambda clip: clip.name)
def test_there_is_no_cut_in_the_clips_that_ship(clip):
    detector = CutDetector()
    assert not any(detector.push(frame) for frame in VideoReader(clip))
    assert detector.close() is None


@pytest.mark.parametrize("rate_hz", [30, 10, 5, 4, 2, 1, 0.5])
def test_a_slow_view_of_one_scene_has_no_cut(rate_hz):
    assert not places([scene(0, round(index * 30 / rate_hz)) for index in range(24)], rate_hz)


def test_frames_too_far_apart_are_not_compared():
    assert not places(shots(12, 12), rate_hz=3.9)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize(
    "light", [(1.0, 255.0), (4.0, 0.0), (0.0, 0.0), (0.3, 0.0)], ids=["white", "x4", "black", "dim"]
)
def test_flashes_and_short_darkness_are_no_cuts(frames, light):
    assert not places(between(12, 12 + frames, brighter(scene(0, 12), *light)))


def test_another_exposure_is_no_cut():
    assert not places(shots(12) + [brighter(scene(0, index), 0.4, 20) for index in range(12, 30)])


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("frames", [1, 2])
def test_damaged_pictures_are_no_cuts(share, frames):
    damaged = scene(0, 12)
    damaged[round((1 - share) * ROWS) :] = scene(7)[round((1 - share) * ROWS) :]
    assert not places(between(12, 12 + frames, damaged))


@pytest.mark.parametrize("pan_px", [2, 6, 12, 25])
def test_a_pan_is_no_cut(pan_px):
    moves = [0.0] * 10 + [float(pan_px)] * 8 + [0.0] * 10
    assert not places(scene(0, 1, sum(moves[: index + 1])) for index in range(len(moves)))


def test_shakes_and_noise_are_no_cuts():
    rng = np.random.default_rng(0)
    assert not places(scene(0, 1, rng.normal(0, 5)) for _ in range(40))
    assert not places(as_rgb(scene(0, index)[:, :, 1] + rng.normal(0, 40, (ROWS, COLUMNS))) for index in range(40))
    assert not places(as_rgb(rng.normal(128, 60, (ROWS, COLUMNS))) for _ in range(40))


def test_a_dissolve_is_no_cut():
    shares = np.linspace(0, 1, 14)
    mixed = [as_rgb((1 - share) * scene(0)[:, :, 1] + share * scene(1)[:, :, 1]) for share in shares]
    assert not places([scene(0)] * 10 + mixed + [scene(1)] * 10)


def test_another_size_or_shape_of_the_picture_is_no_cut():
    assert not places(shots(12) + [np.kron(scene(0, i), np.ones((2, 2, 1), np.uint8)) for i in range(12, 24)])
    assert not places(shots(12) + [scene(0, i).transpose(1, 0, 2) for i in range(12, 24)])


def test_repeated_frames_and_pauses_are_no_cuts():
    assert not places(rgb for rgb in shots(12) for _ in range(3))
    detector = CutDetector()
    for index, (rgb, _) in enumerate(pairwise(shots(12, 12))):
        assert detector.push(frame_from_array(rgb, index / 30 + 2.0 * (index >= 12), index)) is None


def test_people_who_stand_as_a_moment_before_go_on():
    left, right = person(x_px=100.0), person(x_px=400.0)
    assert go_on([left, right], [person(x_px=410.0)])
    assert not go_on([left], [left, right])
    assert not go_on([left], [person(x_px=130.0)])
    assert not go_on([left], []) and not go_on([], [left])

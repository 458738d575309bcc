"""Changes: what moves beside those who are followed wakes the search; noise, light and their own limbs do not."""

from __future__ import annotations

import numpy as np
import pytest

from mixsynth_stream.pipeline.estimators.changes import Changes
from mixsynth_stream.pipeline.estimators.region import Region

RNG = np.random.default_rng(0)
YARD = RNG.integers(60, 180, (540, 960, 3), np.uint8)


def with_person(x: int, y: int, height: int, level: int = 250) -> np.ndarray:
    picture = YARD.copy()
    picture[y : y + height, x : x + height // 3] = level
    return picture


def is_awake(first: np.ndarray, second: np.ndarray, *followed: Region) -> bool:
    changes = Changes()
    assert changes.move_on(first, followed)  # nothing is known before
    return changes.move_on(second, followed)


def test_the_same_picture_noise_and_light_are_no_change():
    noise = np.clip(YARD + RNG.normal(0, 6, YARD.shape), 0, 255).astype(np.uint8)
    assert not is_awake(YARD, YARD)
    assert not is_awake(YARD, noise)
    assert not is_awake(YARD, YARD + np.uint8(50))


@pytest.mark.parametrize(("x", "y"), [(10, 10), (700, 300), (925, 470)])
def test_somebody_an_eighth_as_high_as_the_picture_is_a_change(x: int, y: int):
    assert is_awake(YARD, with_person(x, y, 540 // 8))


def test_those_who_are_followed_may_move():
    around = Region(450.0, 300.0, 300.0)
    assert not is_awake(with_person(400, 200, 200), with_person(440, 210, 200), around)
    assert is_awake(with_person(400, 200, 200), with_person(800, 210, 200), around)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (33, 20), (64, 64), (1080, 1920), (1920, 1088)])
def test_pictures_of_any_size(shape: tuple[int, int]):
    dark, bright = np.zeros((*shape, 3), np.uint8), np.zeros((*shape, 3), np.uint8)
    bright[: shape[0] // 2, : shape[1] // 2] = 255
    assert not is_awake(dark, dark)
    if min(shape) > 32:
        assert is_awake(dark, bright)


def test_another_size_is_a_change():
    assert is_awake(YARD, YARD[:400])


def test_strided_pictures_are_read_as_they_are():
    assert not is_awake(YARD, np.concatenate([YARD, YARD], axis=1)[:, :960])

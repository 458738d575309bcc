"""The Gaussian numbers of training, and what training leaves out of the simulated estimator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.steady_noise import STEADY, standing, unit

from mixsynth_stream.data.estimator_noise import errors
from mixsynth_stream.data.gaussian import QuickGaussian

# Shares of a normal distribution beyond so many standard deviations, from a table.
BEYOND = {1: 0.31731, 2: 0.045500, 3: 0.0026998, 4: 6.334e-5}


def test_numbers_are_gaussian_and_independent() -> None:
    numbers = QuickGaussian(np.random.PCG64(0)).standard_normal((1000, 2001), np.float32)
    assert numbers.dtype == np.float32
    assert numbers.mean() == pytest.approx(0, abs=0.003)
    assert numbers.std() == pytest.approx(1, abs=0.002)
    for deviations, share in BEYOND.items():
        noise = 4 / np.sqrt(share * numbers.size)
        assert (np.abs(numbers) > deviations).mean() / share == pytest.approx(1, abs=noise)
        assert ((numbers > deviations).mean() / share) == pytest.approx(0.5, abs=noise)
    # The two halves of a block are made of the same radii: neither they nor their sizes go together.
    first, second = numbers.ravel()[: numbers.size // 2], numbers.ravel()[numbers.size // 2 :]
    for power in (1, 2):
        assert abs(np.corrcoef(first**power, second**power)[0, 1]) < 0.005
        assert abs(np.corrcoef(first[1:] ** power, first[:-1] ** power)[0, 1]) < 0.005


@pytest.mark.parametrize("size", [(0, 2), (1,), (3, 1), (4, 5)])
def test_any_number_of_them_again_from_a_kept_state(size: tuple[int, ...]) -> None:
    rng = QuickGaussian(np.random.PCG64(3))
    rng.random(3)
    state = rng.bit_generator.state
    first = rng.standard_normal(size, np.float32)
    assert first.shape == size
    assert np.isfinite(first).all()
    rng.bit_generator.state = state
    np.testing.assert_array_equal(rng.standard_normal(size, np.float32), first)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_modes_that_training_leaves_out_do_not_show(dims: int) -> None:
    size, found = unit(400, 1.0), []
    for left_out in (0.0, 1e-5):
        slow, _ = errors(np.random.default_rng(0), replace(STEADY, left_out=left_out), standing(400, dims), size)
        steps, again = np.diff(slow, axis=1), np.diff(slow, 2, axis=1)
        later = [(slow[:, lag:] * slow[:, :-lag]).mean() for lag in (1, 10, 30)]
        found.append([slow.std(), steps.std(), again.std(), *later])
    np.testing.assert_allclose(found[1], found[0], rtol=0.06)


def test_looking_at_keyframes_only_sees_the_same_errors() -> None:
    size, grid = unit(600, 200.0), slice(0, 51, 10)
    moving = standing(600, 2) + np.float32(40) * np.sin(np.arange(100, dtype=np.float32) / 9)[:, None, None]
    slow, fast = errors(np.random.default_rng(0), STEADY, moving, size)
    same, seen = errors(np.random.default_rng(0), STEADY, moving, size, grid)
    assert seen.shape == (600, 6, 17, 2)
    np.testing.assert_allclose(seen.std(axis=0), fast[:, grid].std(axis=0), rtol=0.25)
    np.testing.assert_allclose(same.std(axis=(0, 1)), slow.std(axis=(0, 1)), rtol=1e-3)

"""The Gaussian numbers of training."""

from __future__ import annotations

import numpy as np
import pytest

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

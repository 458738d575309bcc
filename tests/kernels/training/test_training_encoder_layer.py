"""One layer in training, forward and backwards, against its reference."""

from __future__ import annotations

import pytest
from support.gradients import WIDE, assert_layer_is_the_reference
from support.networks import ODD
from support.references import RUNNABLE, UNREDUCED


@pytest.mark.parametrize(
    ("config", "precision"),
    [(ODD, "strict"), (UNREDUCED, "fp16"), (WIDE, "strict"), (WIDE, "fp16")]
    + [(config, precision) for config in (ODD, UNREDUCED) for precision in RUNNABLE if precision in ("tf32", "bf16")],
)
def test_the_kernels_have_the_gradients_of_the_reference(config, precision):
    assert_layer_is_the_reference(config, precision, batch=2)

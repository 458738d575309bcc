"""What a training step launches is told to those who compile it ahead of time."""

from __future__ import annotations

import pytest
from support.gradients import LONG
from support.networks import SHAPES

from mixsynth_stream.kernels.training.large_branch import large_branch_bwd_kernel, large_branch_fwd_kernel
from mixsynth_stream.kernels.training.specialisations import layer_specialisations


@pytest.mark.parametrize("name", SHAPES)
def test_every_argument_has_its_type(name):
    for kind in layer_specialisations(SHAPES[name], "bf16"):
        assert list(kind.signature) == list(kind.kernel.arg_names)
        assert kind.signature.get("matrices", "*bf16") == "*bf16"
        seed = [i for i, argument in enumerate(kind.signature) if argument == "seed"]
        pointers = [i for i, t in enumerate(kind.signature.values()) if t.startswith("*")]
        assert list(kind.aligned) == [i for i in pointers if i not in seed], "each layer has a seed of its own"


def test_large_windows_launch_other_kernels_for_their_branches():
    kinds = layer_specialisations(LONG, "bf16")
    for kind in kinds:
        assert list(kind.signature) == list(kind.kernel.arg_names)
    kernels = [kind.kernel for kind in kinds]
    assert kernels.count(large_branch_fwd_kernel) == kernels.count(large_branch_bwd_kernel) == 2
    assert all("channel_branch" not in kind.name and "token_branch" not in kind.name for kind in kinds)

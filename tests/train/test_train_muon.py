"""Muon for many small matrices: the same steps as torch's own, which goes one by one in bfloat16."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from mixsynth_stream.train.muon import Muon, orthogonal  # noqa: E402

SHAPES = [(17, 64), (17, 64), (64, 17), (138, 17), (33, 33)]


def matrices(seed: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw) for shape in SHAPES]


def test_steps_are_those_of_torch_within_its_bfloat16():
    mine, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in matrices(0)] for _ in range(2))
    ours = Muon(mine, lr=0.02, weight_decay=0.1, momentum=0.95)
    torchs = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for seed in range(1, 5):
        for a, b, gradient in zip(mine, theirs, matrices(seed), strict=True):
            a.grad, b.grad = gradient, gradient.clone()
        ours.step()
        torchs.step()
    for a, b, start in zip(mine, theirs, matrices(0), strict=True):
        moved = (b - start).norm()
        assert (a - b).norm() < 0.02 * moved


def test_singular_values_come_out_near_one():
    draw = torch.Generator().manual_seed(3)
    for shape in ((4, 64, 17), (4, 17, 64), (1, 32, 32)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=draw)))
        assert values.min() > 0.3 and values.max() < 1.3


def test_matrices_of_one_shape_do_not_mix():
    together = orthogonal(torch.stack(matrices(1)[:2]))
    alone = torch.cat([orthogonal(matrix[None]) for matrix in matrices(1)[:2]])
    torch.testing.assert_close(together, alone)


def test_a_parameter_without_a_gradient_stays():
    still, moving = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
    moving.grad = torch.randn(4, 3)
    Muon([still, moving], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, torch.ones(4, 3))
    assert not torch.equal(moving, torch.ones(4, 3))


def test_only_matrices_are_taken():
    with pytest.raises(ValueError, match=r"matrices only, found a parameter of shape \[5\]"):
        Muon([torch.nn.Parameter(torch.ones(5))], lr=0.1)

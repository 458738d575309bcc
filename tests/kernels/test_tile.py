"""Sizes of what a program holds, and what Triton files compiled kernels under."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from support.networks import SHAPES
from support.references import layer_of

from mixsynth_stream.kernels import tile as tile_module
from mixsynth_stream.kernels.plan import plan_for
from mixsynth_stream.kernels.tile import Tile


def test_a_layer_is_laid_out_alike_whether_its_weights_or_its_configuration_are_known():
    for config in SHAPES.values():
        assert Tile.of_layer(config, "bf16") == Tile.of_layer(layer_of(config), "bf16")


def test_compiled_kernels_are_not_those_of_other_sizes_of_the_same_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton keeps what it compiled on disk; what a tile works out is part of the program and not of its source."""
    from triton.compiler import ASTSource

    kernel = SimpleNamespace(__name__="k", arg_names=["tile"], cache_key="source of k")
    one, other = (plan_for(SHAPES[name], "bf16", 1).tile for name in ("h36m", "3dpw"))

    def filed(tile: Tile) -> str:
        return ASTSource(kernel, {"tile": "constexpr"}, {"tile": tile}).hash()

    before = filed(one)
    assert before == filed(dataclasses.replace(one)) != filed(other)
    # As a later version of the file would have it: a size that no field tells.
    monkeypatch.setattr(tile_module, "_SMALLEST", 32)
    assert filed(dataclasses.replace(one)) != before

"""What a program holds in training, and how `info` says it."""

from __future__ import annotations

import dataclasses

import pytest
from support.gradients import LONG
from support.networks import SHAPES, published

from mixsynth_stream.commands.info import _training_launches
from mixsynth_stream.kernels.training import tile as tile_module
from mixsynth_stream.kernels.training.tile import TrainingTile, token_tile


@pytest.mark.parametrize("precision", ["strict", "bf16"])
def test_info_says_who_makes_the_products(precision):
    def words(config):
        return _training_launches(TrainingTile.of_layer(config, precision).large)

    assert "by the library" in words(LONG)
    # As the published evaluation builds it: its energies would spill, or find no shared memory.
    assert "by the library" in words(published("h36m", 1, 1))
    assert words(published("aist")) == "4 launches a layer forward and 8 backwards"


def test_compiled_kernels_are_not_those_of_other_sizes(monkeypatch):
    """What Triton files them under holds every number that a kernel can read."""
    tile = TrainingTile.of_layer(SHAPES["h36m"], "bf16")
    before, tokens = tile.cache_key, repr(token_tile(tile))
    monkeypatch.setattr(tile_module, "_MOST_ENERGIES", 0)
    assert dataclasses.replace(tile).cache_key != before
    monkeypatch.setattr(tile_module, "_TOKENS", 32)
    token_tile.cache_clear()
    assert repr(token_tile(tile)) != tokens
    token_tile.cache_clear()

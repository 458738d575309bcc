"""Shapes that tests on a bare machine with a card share with all others: it needs no other package."""

from __future__ import annotations

from mixsynth_stream.config import ModelConfig

# Small, for tests where the shape does not matter, and odd in every dimension.
ODD = ModelConfig(
    sample_interval=3,
    step=2,
    horizon=2,
    joint_dim=5,
    emb_dim=7,
    num_encoder_layers=2,
    expansion_factor=3,
    reduce_token=2,
    reduce_channel=3,
)

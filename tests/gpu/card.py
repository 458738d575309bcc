"""Card: whether the tests of this folder can run on this machine, and on what. Needs neither pytest nor torch."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from mixsynth_stream.config import ModelConfig

# For programs of this folder that run without pytest: support/ lies there.
sys.path.append(str(Path(__file__).parents[1]))

# Set by `make gpu`: there a missing card is a failure.
EXPECTED = os.environ.get("MIXSYNTH_GPU") == "1"
# One window; several that do not fill the last group; enough to be grouped on every card.
BATCHES = (1, 7, 1030)
# A backward has many kernels: one network of each kind.
TRAINED = ("jhmdb", "h36m", "3dpw", "aist-smpl", "image-n10")
# More tokens, keys and numbers than a program can hold in training, and no size that a block divides.
LARGE = {
    "large": ModelConfig(
        sample_interval=60,
        step=5,
        horizon=8,
        joint_dim=51,
        emb_dim=150,
        num_encoder_layers=2,
        reduce_token=1,
        reduce_channel=2,
    )
}
# Trained for some steps, with dropout.
DROPPED, DROPPED_PRECISIONS = ("jhmdb", "3dpw"), ("strict", "bf16")


def why_not() -> str:
    """Why they cannot run; empty where they can."""
    for package in ("torch", "triton"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    import torch

    if not torch.cuda.is_available():
        return "there is no CUDA device"
    return "TRITON_INTERPRET=1 is set" if os.environ.get("TRITON_INTERPRET") == "1" else ""


def skip_or_fail(reason: str) -> None:
    """Leave out a test module; where a card is expected, fail."""
    import pytest

    if EXPECTED:
        pytest.fail(f"a CUDA device was expected here, and {reason}", pytrace=False)
    pytest.skip(f"{reason}; `make gpu` runs these", allow_module_level=True)

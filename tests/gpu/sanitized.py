"""Run the CUDA encoder as compute-sanitizer watches: every kind of kernel once, without torch, which takes it minutes.

compute-sanitizer --tool racecheck --error-exitcode 9 python tests/gpu/sanitized.py
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
from card import LARGE
from support.shapes import ODD

from mixsynth_stream.parameters import random_state
from mixsynth_stream.presets import published_shapes

# Windows that share blocks, and the last of which has fewer; one layer of the large ones, because each step is watched.
RUNS = (
    ("3dpw", published_shapes()["3dpw"], 400),
    ("jhmdb", published_shapes()["jhmdb"], 1),
    ("h36m", dataclasses.replace(published_shapes()["h36m"], num_encoder_layers=1), 3),
    ("aist-smpl", dataclasses.replace(published_shapes()["aist-smpl"], num_encoder_layers=1), 2),
    ("odd", ODD, 5),
    ("large", dataclasses.replace(LARGE["large"], num_encoder_layers=1), 1),  # with a workspace
)


def main() -> int:
    try:
        from mixsynth_stream import _cuda

        _cuda.devices()
    except (ImportError, RuntimeError) as error:  # CUDA's own error is a RuntimeError
        print(f"a CUDA device was expected here: {error}", file=sys.stderr)
        return 1
    for name, config, batch in RUNS:
        shape = (batch, config.num_keyframes, config.joint_dim)
        keyframes = np.random.default_rng(batch).standard_normal(shape).astype(np.float32)
        motions = []
        for precision in ("strict", "tf32", "bf16"):
            encoder = _cuda.Encoder(state=random_state(config), precision=precision, **dataclasses.asdict(config))
            motions.append(encoder.forward(keyframes))
        worst = max(float(np.abs(motion - motions[0]).max()) for motion in motions)
        print(f"{name}, batch {batch}: precisions differ by {worst:.1e}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

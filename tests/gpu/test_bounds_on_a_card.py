"""The kernels under compute-sanitizer: nothing is read or written out of bounds.

It is a file of its own, and so a process beside the others in `make gpu`, because it takes long and mostly waits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from card import LARGE, skip_or_fail, why_not

if reason := why_not():
    skip_or_fail(reason)

AT_MOST_S = 180

_CHECKED = f"""
import torch
from mixsynth_stream.parameters import random_state
from mixsynth_stream.presets import published_shapes
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.training.autograd import encode
from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.network import MixSynthFormer
for name in ("jhmdb", "3dpw", "aist-smpl"):
    config = published_shapes()[name]
    for precision, batch in (("bf16", 3), ("bf16", 530), ("strict", 3)):
        keyframes = torch.zeros(batch, config.num_keyframes, config.joint_dim, device="cuda")
        Encoder(random_state(config), config, precision=precision)(keyframes)
    if name != "aist-smpl":
        network = MixSynthFormer(config, dropout=0.1).cuda().train()
        encode(network, keyframes, precision="bf16").sum().backward()
config = {LARGE["large"]!r}
keyframes = torch.zeros(1, config.num_keyframes, config.joint_dim, device="cuda")
encode(MixSynthFormer(config, dropout=0.1).cuda().train(), keyframes, precision="bf16").sum().backward()
torch.cuda.synchronize()
print("checked")
"""


def _sanitizer() -> str | None:
    program, nvcc = shutil.which("compute-sanitizer"), shutil.which("nvcc")
    if program is None and nvcc is not None:
        program = shutil.which("compute-sanitizer", path=os.path.join(os.path.dirname(os.path.realpath(nvcc))))
    return program


def checked(program: str) -> subprocess.CompletedProcess[str]:
    command = [_sanitizer() or "", "--tool", "memcheck", "--error-exitcode", "9", sys.executable, "-c", program]
    # Torch's own pool would hide an access that lies outside a tensor and inside its block.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=AT_MOST_S, check=False, env=environment)


def why_it_cannot_follow_torch() -> str:
    """Empty where it can: then all that goes wrong is the kernels' fault."""
    try:
        alone = checked("import torch; torch.zeros(1, device='cuda').cpu()")
    except subprocess.TimeoutExpired:
        return f"takes more than {AT_MOST_S} s here for torch alone"
    return f"does not run here: {(alone.stdout + alone.stderr).strip()[-200:]}" if alone.returncode else ""


@pytest.mark.skipif(_sanitizer() is None, reason="compute-sanitizer is not installed")
def test_nothing_is_read_or_written_out_of_bounds() -> None:
    try:
        result = checked(_CHECKED)
        wrong = "" if result.returncode == 0 and "checked" in result.stdout else (result.stdout + result.stderr)[-3000:]
    except subprocess.TimeoutExpired:
        # A program that was not checked to its end is not known to be right.
        wrong = f"not finished after {AT_MOST_S} s"
    if wrong and (reason := why_it_cannot_follow_torch()):
        pytest.skip(f"compute-sanitizer {reason}")
    assert not wrong, wrong

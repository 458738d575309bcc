"""siMLPe (Guo et al., WACV 2023, "Back to MLP"), for `compare_predictions.py`.

Written from the paper: a cosine transform of the frames seen, a layer over the numbers of a pose, blocks of one layer
over time with a LayerNorm behind it and a residual around both, a layer over the numbers, and the transform back. What
comes out are displacements from the last pose. There is no activation. The paper has 48 blocks and 50 frames seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mixsynth_stream.config import ModelConfig

BLOCKS = 48


class Block(nn.Module):
    """x + LayerNorm(W x + b), where W works over time and the norm over the numbers of a pose."""

    def __init__(self, frames: int, numbers: int) -> None:
        super().__init__()
        self.temporal = nn.Linear(frames, frames)
        self.norm = nn.LayerNorm(numbers)
        nn.init.xavier_uniform_(self.temporal.weight, gain=1e-8)
        nn.init.zeros_(self.temporal.bias)

    def forward(self, x: Tensor) -> Tensor:  # [B, frames, numbers] -> the same
        moved = self.temporal(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.norm(moved)
        return out


class SiMlpe(nn.Module):
    """Q + 1 frames in, T poses out: those seen, and H predicted. Of `config` it takes N = 1, Q, H and D."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        frames, numbers = config.num_keyframes, config.joint_dim
        if config.horizon > frames:
            raise ValueError(f"siMLPe predicts at most as many frames as it sees, {frames}; found {config.horizon}")
        self.horizon = config.horizon
        self.pose_in, self.pose_out = nn.Linear(numbers, numbers), nn.Linear(numbers, numbers)
        self.blocks = nn.Sequential(*(Block(frames, numbers) for _ in range(BLOCKS)))
        nn.init.xavier_uniform_(self.pose_out.weight, gain=1e-8)
        nn.init.zeros_(self.pose_out.bias)
        self.register_buffer("transform", cosines(frames), persistent=False)

    def forward(self, keyframes: Tensor) -> Tensor:  # [B, Q+1, D] -> [B, T, D]
        x = self.pose_in(self.transform @ keyframes)
        moved = self.transform.T @ self.pose_out(self.blocks(x))
        return torch.cat([keyframes, keyframes[:, -1:] + moved[:, : self.horizon]], dim=1)


def cosines(frames: int) -> Tensor:  # [frames, frames]
    """The orthonormal cosine transform (DCT-II): row k has k half waves."""
    place = (torch.arange(frames, dtype=torch.float64) + 0.5) * math.pi / frames
    rows = torch.cos(torch.arange(frames)[:, None] * place) * math.sqrt(2 / frames)
    rows[0] /= math.sqrt(2)
    return rows.float()

"""A transformer in the manner of DeciWatch (Zeng et al., ECCV 2022), for `compare_architectures.py`.

Written from the paper's description: DenoiseNet, an encoder over the keyframes, corrects them; straight lines lead from
keyframe to keyframe; RecoverNet, a decoder over every step that attends to the encoder's features, corrects the lines.
Both corrections are residual. The sizes are those of the published configurations: 5 blocks each, 4 heads, 256 units in
the feed-forward layers, each step embedded with its 4 neighbours, width 32 on 3DPW and 128 on Sub-JHMDB and Human3.6M.

It differs in three points: with a horizon the lines go on as the newest keyframe, repeated; dropout is 0, because no
window comes twice; and places in the window are added once, before the first block.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mixsynth_stream.config import ModelConfig

BLOCKS, HEADS, FEED_FORWARD, NEIGHBOURHOOD = 5, 4, 256, 5


class DeciWatchTransformer(nn.Module):
    """Q + 1 keyframes in, T poses out. Of `config` it takes N, Q, H and D; `width` is the channels of both parts."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        block = (width, HEADS, FEED_FORWARD, 0.0, functional.leaky_relu)
        encoder = nn.TransformerEncoderLayer(*block, batch_first=True, norm_first=True)
        decoder = nn.TransformerDecoderLayer(*block, batch_first=True, norm_first=True)
        self.keyframe_emb = nn.Linear(config.joint_dim, width)
        self.denoise = nn.TransformerEncoder(encoder, BLOCKS, nn.LayerNorm(width), enable_nested_tensor=False)
        self.denoise_fc = nn.Linear(width, config.joint_dim)
        self.step_emb = nn.Conv1d(config.joint_dim, width, NEIGHBOURHOOD, padding="same")
        self.recover = nn.TransformerDecoder(decoder, BLOCKS, nn.LayerNorm(width))
        self.recover_fc = nn.Linear(width, config.joint_dim)
        places = sinusoids(config.seq_len, width)
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("keyframe_places", places[: config.newest + 1 : config.sample_interval], persistent=False)
        self.register_buffer("lines", linear_matrix(config), persistent=False)
        # The published start. Without it the blocks would start as copies of one another.
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, keyframes: Tensor) -> Tensor:  # [B, Q+1, D] -> [B, T, D]
        features = self.denoise(self.keyframe_emb(keyframes) + self.keyframe_places)
        straight = self.lines @ (keyframes + self.denoise_fc(features))
        steps = self.step_emb(straight.transpose(1, 2)).transpose(1, 2) + self.places
        out: Tensor = straight + self.recover_fc(self.recover(steps, features + self.keyframe_places))
        return out


def linear_matrix(config: ModelConfig) -> Tensor:  # [T, Q+1]
    """Weights of straight lines between keyframes, and of the newest one past it."""
    phase = np.arange(config.seq_len) / config.sample_interval
    knots = np.arange(config.num_keyframes)
    weights = np.stack([np.interp(phase, knots, knot == knots) for knot in knots], axis=1)
    return torch.from_numpy(weights.astype(np.float32))


def sinusoids(steps: int, width: int) -> Tensor:  # [steps, width]
    """Places in a window as sines and cosines (Vaswani et al., 2017)."""
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(steps)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)

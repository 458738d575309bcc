"""Network: MixSynthFormer as published (Sun et al., ICCV 2023), continued past the newest keyframe by `horizon`.

Parameter names are those of the published file, so that a published `state_dict` loads with `strict=True`.
B windows, T = N*Q + 1 + H tokens (poses), C channels, D numbers a pose.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.interpolation import catmull_rom_matrix
from mixsynth_stream.parameters import SQUEEZE_RATIO, config_from_state_dict

__all__ = ["MixSynthFormer", "config_from_state_dict"]


class SqueezeExcite(nn.Module):
    """e * sigmoid(W2 relu(W1 mean_last(e))): a gate that depends on all rows scales each row of the energies."""

    def __init__(self, length: int) -> None:
        super().__init__()
        hidden = length // SQUEEZE_RATIO
        self.fc = nn.Sequential(
            nn.Linear(length, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, length, bias=False), nn.Sigmoid()
        )

    def forward(self, energies: Tensor) -> Tensor:  # [B, n, m] -> [B, n, m]
        gate: Tensor = self.fc(energies.mean(dim=-1))
        return energies * gate.unsqueeze(-1)


class SyntheticAttention(nn.Module):
    """Attention whose n x n/reduce matrix comes from the rows alone, without queries and keys (Section 3.2)."""

    def __init__(self, width: int, length: int, reduce: int) -> None:
        super().__init__()
        self.reduce = reduce
        self.dense = nn.Linear(width, length // reduce)
        self.se = SqueezeExcite(length)
        # The published file has it even where reduce is 1 and nothing uses it.
        self.value_reduce = nn.Linear(length, length // reduce)

    def forward(self, x: Tensor) -> Tensor:  # [B, n, width] -> [B, n, width]
        attention = self.se(self.dense(x)).softmax(dim=-1)
        value = x if self.reduce == 1 else self.value_reduce(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = attention @ value
        return out


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # [..., inputs] -> [..., outputs]
        x = self.dropout(functional.gelu(self.fc1(x)))
        out: Tensor = self.dropout(self.fc2(x))
        return out


class MixedSyntheticAttention(nn.Module):
    """Attention over tokens and over channels, mixed token by token with learned weights (Section 3.3)."""

    def __init__(self, tokens: int, channels: int, reduce_token: int, reduce_channel: int, dropout: float) -> None:
        super().__init__()
        self.synth_token = SyntheticAttention(channels, tokens, reduce_token)
        self.synth_channel = SyntheticAttention(tokens, channels, reduce_channel)
        self.reweight = Mlp(tokens, tokens // SQUEEZE_RATIO, 2 * tokens)
        self.proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        t = self.synth_token(x)
        c = self.synth_channel(x.transpose(1, 2)).transpose(1, 2)
        # The two weights of a token are neighbours: 2i is the token branch's, 2i + 1 the channel branch's.
        weights = self.reweight((t + c).mean(dim=-1)).unflatten(-1, (-1, 2)).softmax(dim=-1)  # [B, T, 2]
        a_t, a_c = weights.split(1, dim=-1)
        out: Tensor = self.dropout(self.proj(a_t * t + a_c * c))
        return out


class EncoderLayer(nn.Module):
    """Mixed attention and feed-forward, each with a residual and a LayerNorm behind it."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        channels = config.emb_dim
        self.synth_att = MixedSyntheticAttention(
            config.seq_len, channels, config.reduce_token, config.reduce_channel, dropout
        )
        self.ff = Mlp(channels, channels * config.expansion_factor, channels, dropout)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        x = self.norm1(x + self.synth_att(x))
        out: Tensor = self.norm2(x + self.ff(x))
        return out


class Encoder(nn.Module):
    """L layers, one after the other."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config, dropout) for _ in range(config.num_encoder_layers))

    def forward(self, x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        for layer in self.layers:
            x = layer(x)
        return x


class MixSynthFormer(nn.Module):
    """Q + 1 keyframes in; out, the motion at every grid step of the window and at `horizon` steps beyond it.

    A new network is Catmull-Rom interpolation and damped velocity (our initialisation), to which training adds.
    """

    def __init__(self, config: ModelConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        self.encoder_emb = nn.Linear(config.joint_dim, config.emb_dim)
        self.encoder = Encoder(config, dropout)
        self.l_interp = nn.Linear(config.num_keyframes, config.seq_len)
        self.norm = nn.LayerNorm(config.emb_dim)
        self.fc = nn.Linear(config.emb_dim, config.joint_dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Random weights (Xavier), but the interpolation above in `l_interp` and zero in `fc`."""
        for parameter in self.parameters():
            if parameter.dim() > 1 and parameter.numel():
                nn.init.xavier_uniform_(parameter)
        start = catmull_rom_matrix(self.config.sample_interval, self.config.step, self.config.horizon)
        self.l_interp.weight.copy_(torch.from_numpy(start))
        for zero in (self.l_interp.bias, self.fc.weight, self.fc.bias):
            nn.init.zeros_(zero)

    def forward(self, keyframes: Tensor) -> Tensor:  # [B, Q+1, D] -> [B, T, D]
        interpolated = self.l_interp(keyframes.transpose(1, 2)).transpose(1, 2)
        x = self.encoder(self.encoder_emb(interpolated))
        out: Tensor = self.fc(self.norm(x)) + interpolated
        return out
